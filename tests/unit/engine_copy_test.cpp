// SPDX-License-Identifier: Apache-2.0
// Copies: what is shared, what is not, what the two sides hold afterwards, and what it costs.
#include <gtest/gtest.h>

#include <algorithm>

#include "blobs/layout.h"
#include "engine/recovery_counters.h"
#include "engine_pool_fixture.h"

namespace lamina {
namespace {

class WithCopies : public PoolOnSimulatedDisk {
 protected:
  static constexpr size_t churned_at_once = 16 * kib;
  bool churn_goes_on_ = false;

  DeviceId create(const std::string& name, uint64_t bytes) {
    auto made = wait(pool_->create(name, bytes, {}));
    EXPECT_TRUE(made) << made.error().message;
    return made->id;
  }
  void write(DeviceId id, uint64_t offset, const std::vector<std::byte>& data) {
    auto written = wait(pool_->write(id, offset, data));
    ASSERT_TRUE(written) << written.error().message;
  }
  // All of it, in as many calls as that takes.
  void copy(DeviceId from, uint64_t offset, DeviceId to, uint64_t to_offset, uint64_t length) {
    while (length > 0) {
      auto done = wait(pool_->copy(from, offset, to, to_offset, length));
      ASSERT_TRUE(done) << done.error().message;
      ASSERT_GT(*done, 0u);
      ASSERT_LE(*done, length);
      offset += *done, to_offset += *done, length -= *done;
    }
  }
  uint64_t used() {
    EXPECT_TRUE(wait(pool_->count_shares()));
    return pool_->status().data_bytes;
  }
  std::vector<MappedRange> ranges(DeviceId id) {
    auto mapped = wait(pool_->map(id, DeviceBlock{0}, 1000));
    EXPECT_TRUE(mapped);
    return *mapped;
  }
  // Where one block lies.
  Address address(DeviceId id, uint64_t block) {
    for (const MappedRange& range : ranges(id))
      if (range.range.contains(DeviceBlock{block}) && range.state == RangeState::data)
        return range.address + (DeviceBlock{block} - range.range.begin);
    return {};
  }
  // "a", beside what will be dead.
  void write_worth_moving(const std::vector<std::byte>& data) {
    const DeviceId a = create("a", 0), churned = create("churn", 0);
    for (uint64_t at = 0; at < data.size(); at += churned_at_once) {
      const auto first = data.begin() + static_cast<ptrdiff_t>(at);
      write(a, at, {first, first + churned_at_once});
      write(churned, 16 * at, pattern(15 * churned_at_once, 3));
    }
  }
  Task<void> churn(DeviceId id) {
    const auto piece = pattern(churned_at_once, 5);
    while (churn_goes_on_)
      co_await pool_->write(id, executor_->random()() % 2000 * churned_at_once, piece);
  }
  // Whether the mover has taken it elsewhere is looked at after each checkpoint; then it is copied,
  // before the next one, with some luck. Returns the number of the checkpoint.
  Task<CheckpointNumber> copy_once_moved(DeviceId from, DeviceId to, uint64_t length) {
    spawn(churn(pool_->find("churn")->id));
    std::vector<MappedRange> were;
    for (CheckpointNumber number = 0;;) {
      const CheckpointNumber now = pool_->status().checkpoint;
      if (now == number) {
        co_await Yield{};
        continue;
      }
      number = now;
      auto are = co_await pool_->map(from, DeviceBlock{0}, 1000);
      if (!are) co_return 0;
      const auto address = [](const MappedRange& range) { return range.address; };
      const bool moved = !were.empty() && !std::ranges::equal(*are, were, {}, address, address);
      were = std::move(*are);
      if (!moved) continue;
      for (uint64_t done = 0; done < length;) {
        auto part = co_await pool_->copy(from, done, to, block_size + done, length - done);
        if (!part || *part == 0) co_return 0;
        done += *part;
      }
      auto durable = co_await pool_->flush(to);
      co_return durable ? number : 0;
    }
  }
  // Both copies, on the medium of a pool that is not open.
  void lose_slot(CheckpointNumber number) {
    const std::vector<std::byte> noise(block_size, std::byte{0x5a});
    const uint64_t in_edge = slot_ring_offset + number % slot_ring_length * block_size;
    medium_.damage(in_edge, noise);
    medium_.damage(pool_bytes - edge_bytes + in_edge, noise);
  }
};

TEST_F(WithCopies, WholeBlocksAreSharedAndTakeNoSpace) {
  const DeviceId a = create("a", 0), b = create("b", 0);
  const auto data = pattern(2 * mib, 1), more = pattern(64 * kib, 9);
  write(a, 0, data);
  write(b, 0, more);
  const uint64_t before = used();
  copy(a, 0, b, 4 * block_size, data.size());
  EXPECT_EQ(address(b, 4 + 100), address(a, 100));
  EXPECT_EQ(used(), before - 12 * block_size) << "of b, what was copied over";
  EXPECT_EQ(pool_->info(b)->size_bytes, 4 * block_size + data.size());
  EXPECT_TRUE(pool_->find("a")->shares);
  for (int life = 0; life < 2; ++life) {
    expect_content(b, 4 * block_size, data);
    expect_content(a, 0, data);
    remount();
  }
  // Either side may be written; the other one does not see it.
  write(pool_->find("a")->id, 10 * block_size, more);
  expect_content(b, 4 * block_size, data);
  write(b, 4 * block_size, more);
  expect_content(a, 10 * block_size, more);
  crash();
  ASSERT_TRUE(pool_->find("b"));
}

TEST_F(WithCopies, EdgesAndWhatLiesOtherwiseInItsBlocksAreWritten) {
  const DeviceId a = create("a", 0), b = create("b", 0), c = create("c", 0);
  const auto data = pattern(100'000, 1);
  write(a, 0, data);
  copy(a, 100, b, 100, 99'000);
  expect_content(b, 100, {data.begin() + 100, data.begin() + 99'100});
  expect_content(b, 0, std::vector<std::byte>(100));
  EXPECT_EQ(address(b, 1), address(a, 1));
  EXPECT_NE(address(b, 0), address(a, 0));
  EXPECT_EQ(pool_->info(b)->size_bytes, 99'100u);
  copy(a, 100, c, 101, 50'000);
  expect_content(c, 101, {data.begin() + 100, data.begin() + 50'100});
  EXPECT_NE(address(c, 1), address(a, 1));
}

TEST_F(WithCopies, AHoleHidesWhatTheTargetHad) {
  const DeviceId a = create("a", 0), b = create("b", 0);
  const auto data = pattern(8 * block_size, 1), old = pattern(40 * block_size, 2);
  write(a, 4 * block_size, data);
  write(a, 20 * block_size, data);
  ASSERT_TRUE(wait(pool_->erase(a, 21 * block_size, 2 * block_size)));
  ASSERT_TRUE(wait(pool_->resize(a, 40 * block_size)));
  write(b, 0, old);
  copy(a, 0, b, 0, 40 * block_size);
  std::vector<std::byte> expected(40 * block_size);
  std::copy(data.begin(), data.end(), expected.begin() + 4 * block_size);
  std::copy(data.begin(), data.begin() + block_size, expected.begin() + 20 * block_size);
  std::copy(data.begin() + 3 * block_size, data.end(), expected.begin() + 23 * block_size);
  for (int life = 0; life < 2; ++life) {
    expect_content(b, 0, expected);
    ASSERT_TRUE(wait(pool_->sync()));
    crash();
  }
}

TEST_F(WithCopies, AHoleOverWhatWasNeverWrittenIsNotStated) {
  const DeviceId a = create("a", 64 * block_size), b = create("b", 0);
  write(b, 100 * block_size, pattern(block_size, 3));
  copy(a, 0, b, 0, 64 * block_size);
  EXPECT_EQ(ranges(b).front().state, RangeState::hole);
  EXPECT_EQ(ranges(b).front().range.end, DeviceBlock{100});
}

TEST_F(WithCopies, OneDeviceMayBeBothSidesButNotOverItself) {
  const DeviceId a = create("a", 0);
  const auto data = pattern(16 * block_size, 1);
  write(a, 0, data);
  EXPECT_EQ(wait(pool_->copy(a, 0, a, 8 * block_size, 9 * block_size)).error().code, Code::invalid);
  EXPECT_EQ(wait(pool_->copy(a, 8 * block_size, a, 0, 9 * block_size)).value(), 8 * block_size)
      << "cut at the end, they do not overlap";
  copy(a, 0, a, 16 * block_size, 16 * block_size);
  EXPECT_EQ(address(a, 16 + 3), address(a, 3));
  write(a, 3 * block_size, pattern(block_size, 7));
  remount();
  expect_content(a, 19 * block_size,
                 {data.begin() + 11 * block_size, data.begin() + 12 * block_size});
}

TEST_F(WithCopies, TheSourcesEndIsTheCopysAndThenThereIsNothing) {
  const DeviceId a = create("a", 0), b = create("b", 0);
  const auto data = pattern(5 * block_size + 17, 1);
  write(a, 0, data);
  write(b, 0, pattern(10, 2));
  auto done = wait(pool_->copy(a, block_size, b, 2 * block_size, 1 * tib));
  ASSERT_TRUE(done);
  EXPECT_EQ(*done, 4 * block_size + 17);
  expect_content(b, 2 * block_size, {data.begin() + block_size, data.end()});
  // Nothing behind the old end of the target comes to light.
  auto hidden = std::vector<std::byte>(2 * block_size - 10);
  expect_content(b, 10, hidden);
  EXPECT_EQ(wait(pool_->copy(a, data.size(), b, 0, 1)).value(), 0u);
  EXPECT_EQ(wait(pool_->copy(a, 0, b, max_device_bytes - 1, 2)).error().code, Code::too_big);
}

TEST_F(WithCopies, AWholeDeviceOverOneThatWasNeverWrittenIsAFork) {
  const DeviceId a = create("a", 0), b = create("b", 0);
  const auto data = pattern(100 * block_size + 5, 1);
  write(a, 50 * block_size, data);  // never flushed
  const auto done = wait(pool_->copy(a, 0, b, 0, pool_->info(a)->size_bytes + 1 * gib));
  ASSERT_TRUE(done);
  EXPECT_EQ(*done, 150 * block_size + 5);
  EXPECT_EQ(pool_->info(b)->size_bytes, 150 * block_size + 5);
  EXPECT_EQ(address(b, 150), address(a, 150)) << "the last block too";
  expect_content(b, 50 * block_size, data);
  // A fork has lineage: one can be rolled back to the other.
  write(b, 0, pattern(block_size, 8));
  ASSERT_TRUE(wait(pool_->roll_back(b, a, false)));
  expect_content(b, 50 * block_size, data);
  // Into one that has something, or is larger, it is a copy of ranges.
  const DeviceId c = create("c", 1 * gib);
  copy(a, 0, c, 0, 150 * block_size + 5);
  EXPECT_EQ(pool_->info(c)->size_bytes, 1 * gib);
  EXPECT_NE(address(c, 150), address(a, 150));
  expect_content(c, 50 * block_size, data);
  EXPECT_EQ(wait(pool_->roll_back(c, a, false)).error().code, Code::invalid);
}

TEST_F(WithCopies, WhatOnlyACopyStillHasStays) {
  const DeviceId a = create("a", 0), b = create("b", 0), churn = create("churn", 0);
  const auto data = pattern(2 * mib, 1);
  write(a, 0, data);
  ASSERT_TRUE(wait(pool_->checkpoint()));
  write(b, 0, pattern(block_size, 4));
  copy(a, 0, b, block_size, data.size());
  ASSERT_TRUE(wait(pool_->remove("a")));
  const uint64_t churned = 24 * mib;
  for (int round = 0; round < 6; ++round)
    for (uint64_t at = 0; at < churned; at += 512 * kib)
      write(churn, at, pattern(512 * kib, static_cast<uint8_t>(round)));
  expect_content(b, block_size, data);
  remount();
  expect_content(b, block_size, data);
  // And goes with it.
  ASSERT_TRUE(wait(pool_->remove("b")));
  ASSERT_TRUE(wait(pool_->remove("churn")));
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(wait(pool_->sync()));
}

// The new place is published while a copy names the old one: a walk of what was published finds
// nothing there.
TEST_F(WithCopies, WhatIsCopiedWhileItIsMovedStays) {
  const auto data = pattern(2 * mib, 1);
  const DeviceId b = create("b", 0);
  write_worth_moving(data);
  write(b, 0, pattern(block_size, 1));
  const DeviceId a = pool_->find("a")->id;
  churn_goes_on_ = true;
  // One piece after the other is copied again, and another one read that has been there for some
  // time.
  const auto copy_and_read = [&]() -> Task<int> {
    spawn(churn(pool_->find("churn")->id));
    std::vector<std::byte> got(churned_at_once);
    std::vector<bool> copied(data.size() / churned_at_once);
    const auto any_piece = [&] { return executor_->random()() % copied.size(); };
    int good = 0;
    for (; good < 2'000; ++good) {
      const size_t piece = any_piece(), other = any_piece();
      const uint64_t from = piece * churned_at_once;
      auto part = co_await pool_->copy(a, from, b, block_size + from, churned_at_once);
      if (!part || *part != churned_at_once) co_return good;
      copied[piece] = true;
      if (!copied[other]) continue;
      const uint64_t at = other * churned_at_once;
      auto read = co_await pool_->read(b, block_size + at, got);
      if (!read || !std::ranges::equal(got, std::span(data).subspan(at, got.size())))
        co_return good;
    }
    co_return good;
  };
  EXPECT_EQ(wait(copy_and_read()), 2'000);
  EXPECT_GT(pool_->status().moved_bytes, data.size());
  churn_goes_on_ = false;
}

// The mover moves a's data, a checkpoint publishes that, a copy names the new place, and the
// checkpoint is lost: by the one before, the segment is free.
TEST_F(WithCopies, WhatTheMoverMadeForALostCheckpointIsKeptIfItWasSharedSince) {
  const auto data = pattern(2 * mib, 1);
  create("b", 0);
  write_worth_moving(data);
  const auto taken = [] {
    return recovery_branches_taken[static_cast<size_t>(RecoveryBranch::moved_adopted)].load();
  };
  const uint64_t before = taken();
  for (int round = 0; round < 60 && taken() == before; ++round) {
    const DeviceId a = pool_->find("a")->id, b = pool_->find("b")->id;
    ASSERT_TRUE(wait(pool_->truncate_to_empty(b)));
    write(b, 0, pattern(block_size, 1));
    churn_goes_on_ = true;
    const CheckpointNumber published = wait(copy_once_moved(a, b, data.size()));
    ASSERT_NE(published, 0u);
    churn_goes_on_ = false;
    pool_.reset();
    medium_.power_cut(executor_->random());
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
    lose_slot(published);
    open();
    expect_content(pool_->find("b")->id, block_size, data);
    expect_content(pool_->find("a")->id, 0, data);
  }
  EXPECT_GT(taken(), before) << "it never came to that";
  remount();
  expect_content(pool_->find("b")->id, block_size, data);
}

TEST_F(WithCopies, IntoWhatMayNotBeWrittenThereAreNone) {
  const DeviceId a = create("a", 0), b = create("b", 0);
  write(a, 0, pattern(block_size, 1));
  ASSERT_TRUE(wait(pool_->set_read_only(b, true)));
  EXPECT_EQ(wait(pool_->copy(a, 0, b, 0, block_size)).error().code, Code::read_only);
  EXPECT_EQ(wait(pool_->copy(a, 0, DeviceId{99}, 0, 1)).error().code, Code::not_found);
  EXPECT_EQ(wait(pool_->copy(DeviceId{99}, 0, a, 0, 1)).error().code, Code::not_found);
}

TEST_F(WithCopies, AReservationIsGivenBackWhereACopyTakesItsPlace) {
  const DeviceId a = create("a", 0), b = create("b", 0);
  write(a, 0, pattern(8 * block_size, 1));
  ASSERT_TRUE(wait(pool_->reserve(b, 0, 32 * block_size, false)));
  copy(a, 0, b, 4 * block_size, 8 * block_size);
  EXPECT_EQ(pool_->info(b)->reserved_bytes, 24 * block_size);
}

TEST_F(WithCopies, AFullPoolStillSharesAndWhatIsSharedCannotBeOverwritten) {
  const DeviceId a = create("a", 0), b = create("b", 0);
  Result<> written;
  uint64_t size = 0;
  const auto data = pattern(256 * kib, 1);
  for (; written; size += data.size()) written = wait(pool_->write(a, size, data));
  ASSERT_EQ(written.error().code, Code::no_space);
  size -= data.size();
  write(b, 0, {});
  ASSERT_TRUE(wait(pool_->resize(b, 2 * size)));
  copy(a, 0, b, size, 12 * mib);
  expect_content(b, size, data);
  // What it has written since a may overwrite for ever, what is shared it may not (promise 4).
  ASSERT_TRUE(wait(pool_->erase(a, 16 * mib, 4 * mib)));
  ASSERT_TRUE(wait(pool_->checkpoint()));
  for (int i = 0; i < 50; ++i) {
    const auto again = wait(pool_->write(a, 16 * mib, data));
    ASSERT_TRUE(again) << i << ": " << again.error().message;
  }
  Result<> shared;
  for (uint64_t at = 0; shared && at < 12 * mib; at += data.size())
    shared = wait(pool_->write(a, at, pattern(data.size(), 2)));
  ASSERT_FALSE(shared);
  EXPECT_EQ(shared.error().code, Code::no_space);
  ASSERT_TRUE(wait(pool_->remove("b")));
}

}  // namespace
}  // namespace lamina
