// SPDX-License-Identifier: Apache-2.0
// A pool that is 100 percent full: what goes on for ever, what is refused, and what makes it well
// again (promise 4).
#include <map>

#include "engine_pool_fixture.h"

namespace lamina {
namespace {

class FullPool : public PoolOnSimulatedDisk {
 protected:
  static constexpr uint64_t device_blocks = 2 * pool_bytes / block_size;

  DeviceId create(const std::string& name) {
    auto made = wait(pool_->create(name, device_blocks * block_size, {}));
    EXPECT_TRUE(made) << made.error().message;
    versions_[made->id].resize(device_blocks);
    return made->id;
  }
  DeviceId fork(DeviceId source, const std::string& name) {
    std::vector<Pool::Fork> forks;
    forks.push_back({source, name});
    auto made = wait(pool_->fork(std::move(forks), false));
    EXPECT_TRUE(made) << made.error().message;
    versions_[made->front().id] = versions_[source];
    return made->front().id;
  }
  Result<> put(DeviceId id, uint64_t block, uint64_t count = 1) {
    const auto version = static_cast<uint8_t>(1 + executor_->random()() % 255);
    std::vector<std::byte> data;
    for (uint64_t i = 0; i < count; ++i) {
      const auto& one = content(version);
      data.insert(data.end(), one.begin(), one.end());
    }
    auto written = wait(pool_->write(id, block * block_size, data));
    if (written) std::fill_n(versions_[id].begin() + static_cast<long>(block), count, version);
    return written;
  }
  void put_all(DeviceId id, uint64_t begin, uint64_t end) {
    for (uint64_t block = begin; block < end; block += 8) {
      const auto written = put(id, block, std::min<uint64_t>(8, end - block));
      ASSERT_TRUE(written) << block << ": " << written.error().message;
    }
  }
  void copy(DeviceId from, uint64_t block, DeviceId to, uint64_t to_block, uint64_t count) {
    for (uint64_t done = 0; done < count;) {
      auto part = wait(pool_->copy(from, (block + done) * block_size, to,
                                   (to_block + done) * block_size, (count - done) * block_size));
      ASSERT_TRUE(part) << part.error().message;
      done += *part / block_size;
    }
    for (uint64_t i = 0; i < count; ++i)
      versions_[to][to_block + i] = versions_[from][block + i];
  }
  // From `begin` on until nothing fits any more; the first block that did not.
  uint64_t fill(DeviceId id, uint64_t begin = 0) {
    for (uint64_t count : {32, 1})
      while (begin + count <= device_blocks) {
        const auto written = put(id, begin, count);
        if (!written) {
          EXPECT_EQ(written.error().code, Code::no_space);
          break;
        }
        begin += count;
      }
    EXPECT_LT(begin, device_blocks);
    EXPECT_EQ(pool_->status().health.find("full"), 0U) << pool_->status().health;
    return begin;
  }
  void remove(const std::string& name) {
    versions_.erase(pool_->find(name)->id);
    const auto removed = wait(pool_->remove(name));
    ASSERT_TRUE(removed) << removed.error().message;
  }
  // Of the power, after everything was made durable.
  void crash_synced(DeviceId id) {
    ASSERT_TRUE(wait(pool_->flush(id)));
    crash();
  }
  void expect_all() {
    for (const auto& [id, versions] : versions_)
      for (uint64_t block = 0; block < versions.size(); ++block) {
        if (versions[block] == 0 && block % 16 != 0) continue;  // of holes some
        expect_content(id, block * block_size, content(versions[block]));
        if (HasFailure()) return;
      }
  }
  uint64_t below(uint64_t limit) { return executor_->random()() % limit; }
  const std::vector<std::byte>& content(uint8_t version) {
    auto& known = contents_[version];
    if (known.empty())
      known = version == 0 ? std::vector<std::byte>(block_size) : pattern(block_size, version);
    return known;
  }

  std::map<DeviceId, std::vector<uint8_t>> versions_;  // by block; 0: zeroes
  std::map<uint8_t, std::vector<std::byte>> contents_;
};

TEST_F(FullPool, WhatADeviceHasAloneIsOverwrittenForEverBesideWhatItShares) {
  const DeviceId a = create("a"), b = create("b");
  const uint64_t size = pool_->status().size / block_size;
  put_all(a, 0, size / 2);
  fork(a, "s");
  const uint64_t own = size / 5;  // a's, written since
  put_all(a, 0, own);
  fill(b);
  uint64_t refused = 0;
  for (uint64_t i = 0; i < 2 * size; ++i) {
    const auto written = put(a, below(own));
    ASSERT_TRUE(written) << i << ": " << written.error().message;
    if (i % 1000 == 0 && !put(a, own + below(size / 2 - own))) ++refused;
    if (i % 6000 == 3000) crash_synced(a);
  }
  EXPECT_GT(refused, 0U);
  expect_all();
}

// By its last share none of it is the device's own, and by what a walk finds all but one block is.
TEST_F(FullPool, OfWhatACopyTookAPartOfTheRestIsOverwrittenForEver) {
  const DeviceId a = create("a"), b = create("b"), c = create("c");
  const uint64_t size = pool_->status().size / block_size, all = size / 2, taken = all / 3;
  put_all(a, 0, all);
  copy(a, taken, b, 7, 1);
  const uint64_t end = fill(c);
  for (uint64_t i = 0; i < size; ++i) {
    uint64_t block = below(all);
    if (block == taken) ++block;
    const auto written = put(a, block);
    ASSERT_TRUE(written) << i << ": " << written.error().message;
    if (i % 3000 == 1000) crash_synced(a);
  }
  // What was freed by the walks is filled again, so that only what is one's own goes.
  fill(c, end);
  EXPECT_FALSE(put(a, taken));
  expect_all();
}

// The origin gone, the copy is alone with what it has by aliases only; also after a restart.
TEST_F(FullPool, ACopyWhoseOriginIsGoneIsOverwrittenForEver) {
  const DeviceId a = create("a"), b = create("b"), c = create("c");
  const uint64_t size = pool_->status().size / block_size, all = size / 2;
  put_all(a, 0, all);
  copy(a, 0, b, 0, all);
  remove("a");
  fill(c);
  for (uint64_t i = 0; i < size; ++i) {
    if (i % 3000 == 0) crash_synced(b);
    const auto written = put(b, below(all));
    ASSERT_TRUE(written) << i << ": " << written.error().message;
  }
  expect_all();
}

// Two ranges of one device that share: writing one of them is new space, though nobody else has it.
TEST_F(FullPool, WhatADeviceSharesWithItselfIsNotOverwrittenForNothing) {
  const DeviceId a = create("a"), c = create("c");
  const uint64_t size = pool_->status().size / block_size, all = size / 2;
  put_all(a, 0, all);
  copy(a, 0, a, all, all / 4);
  fill(c);
  uint64_t written = 0;
  for (uint64_t block = 0; block < all / 4; ++block)
    if (put(a, block)) ++written;
  EXPECT_LT(written, all / 16);
  expect_all();
}

// What has just been written lies in a segment of the log that has no summary yet, in no layer any
// more, and beside entries from before the fork.
TEST_F(FullPool, WhatWasWrittenJustNowAndMergedIsKnownToBeAlone) {
  const DeviceId a = create("a"), c = create("c");
  put_all(a, 0, 256);
  fork(a, "s");
  ASSERT_TRUE(put(a, 7));
  ASSERT_TRUE(wait(pool_->checkpoint()));
  fill(c);
  for (int i = 0; i < 20; ++i) {
    const auto written = put(a, 7);
    ASSERT_TRUE(written) << i << ": " << written.error().message;
    ASSERT_TRUE(wait(pool_->checkpoint()));
  }
  expect_all();
}

// The merge that knows what the removal gives back is under way just then.
TEST_F(FullPool, ARemovalMakesRoomForWhatIsSharedAtThatMoment) {
  const DeviceId a = create("a"), b = create("b");
  put_all(a, 0, 256);
  fill(b);
  remove("b");
  fork(a, "s");
  const auto written = put(a, 7);
  EXPECT_TRUE(written) << written.error().message;
  expect_all();
}

TEST_F(FullPool, ReservationsTakeTheirWritesUnderAFork) {
  const DeviceId a = create("a"), b = create("b");
  constexpr uint64_t reserved = 600;
  ASSERT_TRUE(wait(pool_->reserve(a, 0, reserved * block_size, true)));
  const DeviceId s = fork(a, "s");
  fill(b);
  const auto not_its_own = put(s, 0);
  ASSERT_FALSE(not_its_own);
  EXPECT_EQ(not_its_own.error().code, Code::no_space);
  for (uint64_t block = 0; block < reserved; ++block) {
    const auto written = put(a, block);
    ASSERT_TRUE(written) << block << ": " << written.error().message;
    if (block % 250 == 100) crash_synced(a);
  }
  {
    Executor* const before = Executor::set_current(executor_.get());  // it may start a merge
    EXPECT_EQ(pool_->info(a)->reserved_bytes, 0U);
    Executor::set_current(before);
  }
  EXPECT_FALSE(put(a, reserved));
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(put(a, below(reserved)));
  expect_all();
}

// D6: each is a record of its own, whose segment the zero keeps as its home.
TEST_F(FullPool, EverythingIsDiscardedInBlocksEachMadeDurable) {
  const DeviceId a = create("a");
  const uint64_t end = fill(a);
  std::vector<uint64_t> blocks(end);
  for (uint64_t i = 0; i < end; ++i) blocks[i] = i;
  std::shuffle(blocks.begin(), blocks.end(), executor_->random());
  for (uint64_t i = 0; i < end; ++i) {
    const auto erased = wait(pool_->erase(a, blocks[i] * block_size, block_size));
    ASSERT_TRUE(erased) << i << " of " << end << ": " << erased.error().message;
    versions_[a][blocks[i]] = 0;
    const auto flushed = wait(pool_->flush(a));
    ASSERT_TRUE(flushed) << i << ": " << flushed.error().message;
    if (i % 5000 == 2500) crash();
  }
  expect_all();
  const DeviceId b = create("b");  // and writing goes on by itself
  EXPECT_GT(fill(b), end * 9 / 10);
  expect_all();
}

// Promise 4, D2: a layer of nothing but zeroes makes nothing new, but may make room.
TEST_F(FullPool, WhatIsErasedInOneGoCanBeWrittenAgainAtOnce) {
  const DeviceId a = create("a");
  const uint64_t end = fill(a);
  ASSERT_TRUE(wait(pool_->checkpoint()));
  ASSERT_TRUE(wait(pool_->erase(a, 0, end / 2 * block_size)));
  std::fill_n(versions_[a].begin(), end / 2, 0);
  const DeviceId b = create("b");
  put_all(b, 0, end / 3);
  expect_all();
}

// D8: a reservation is no longer than its device, however that goes.
TEST_F(FullPool, AReservationGoesWithItsDevice) {
  const DeviceId a = create("a");
  create("b");
  const uint64_t used = pool_->status().used;
  const uint64_t half = round_down(pool_->status().size / 2, block_size);
  ASSERT_TRUE(wait(pool_->reserve(a, 0, half, false)));
  ASSERT_GE(pool_->status().used, used + half);
  ASSERT_TRUE(wait(pool_->rename("b", "a", true)));  // over it
  EXPECT_LT(pool_->status().used, used + half / 2);
  const DeviceId c = create("c");
  ASSERT_TRUE(wait(pool_->reserve(c, 0, half, false)));
  remove("c");
  EXPECT_LT(pool_->status().used, used + half / 2);
  const DeviceId d = create("d");
  put_all(d, 0, half / block_size * 3 / 2);
}

// The same of what a snapshot holds: nothing comes back, and yet it must work.
TEST_F(FullPool, WhatASnapshotHoldsIsDiscardedInBlocksEachMadeDurable) {
  const DeviceId a = create("a");
  const uint64_t end = fill(a);
  fork(a, "s");
  for (uint64_t block = 0; block < end; block += 3) {
    const auto erased = wait(pool_->erase(a, block * block_size, block_size));
    ASSERT_TRUE(erased) << block << " of " << end << ": " << erased.error().message;
    versions_[a][block] = 0;
    ASSERT_TRUE(wait(pool_->flush(a)));
    if (block % 4500 == 3000) crash();
  }
  expect_all();
  remove("s");
  EXPECT_GT(fill(create("b")), end / 4);
  expect_all();
}

TEST_F(FullPool, DeletingMakesRoomByItself) {
  uint64_t first = 0;
  for (int round = 0; round < 4; ++round) {
    const std::string name = "a" + std::to_string(round);
    const DeviceId a = create(name);
    const uint64_t end = fill(a);
    first = round == 0 ? end : first;
    EXPECT_GT(end, first * 95 / 100);
    expect_all();
    remove(name);
    if (round % 2) crash_synced(create("x" + std::to_string(round)));
  }
}

TEST_F(FullPool, AThousandDevicesAreDeletedAtOnce) {
  std::vector<std::string> names;
  for (int i = 0; i < 1000; ++i) {
    names.push_back("d" + std::to_string(i));
    ASSERT_TRUE(wait(pool_->create(names.back(), mib, {})));
    ASSERT_TRUE(wait(pool_->write(pool_->find(names.back())->id, 0, content(1))));
  }
  const DeviceId a = create("a");
  fill(a);
  for (const std::string& name : names) {
    const auto removed = wait(pool_->remove(name));
    ASSERT_TRUE(removed) << name << ": " << removed.error().message;
  }
  for (uint64_t block = device_blocks - 900; block < device_blocks; ++block)
    ASSERT_TRUE(put(a, block)) << block;
  expect_all();
}

}  // namespace
}  // namespace lamina
