// SPDX-License-Identifier: Apache-2.0
// A pool on a simulated disk: what is written is read, now and after a remount.
#include <gtest/gtest.h>

#include <cstring>

#include "base/buffer.h"
#include "blobs/segment.h"
#include "blobs/sim_disk.h"
#include "blobs/summary.h"
#include "engine/rebuild.h"
#include "engine_pool_fixture.h"

namespace lamina {
namespace {

Task<void> read_into(Pool& pool, DeviceId id, std::span<std::byte> into, std::string& error,
                     Completion& done) {
  auto read = co_await pool.read(id, 0, into);
  if (!read) error = read.error().message;
  done.signal();
}

Task<Result<>> flush_beside_a_read(Pool& pool, DeviceId id, std::span<std::byte> into,
                                   std::string& error) {
  Completion done;
  spawn(read_into(pool, id, into, error, done));
  auto flushed = co_await pool.flush(id);
  co_await done;
  co_return flushed;
}

// --- A19

TEST_F(PoolOnSimulatedDisk, AFailedFlushIsSurvivedAndSaid) {
  const auto device = wait(pool_->create("vm1", 16 * mib, {}));
  ASSERT_TRUE(wait(pool_->write(device->id, 0, pattern(1 * mib, 1))));
  ASSERT_TRUE(wait(pool_->flush(device->id)));
  const Epoch before = pool_->status().epoch;
  ASSERT_TRUE(wait(pool_->write(device->id, 512 * kib, pattern(1 * mib, 2))));
  ASSERT_TRUE(wait(pool_->erase(device->id, 0, 64 * kib)));
  set_faults(*disk_, {.fail_flush_at = 1});
  auto flushed = wait(pool_->flush(device->id));
  ASSERT_TRUE(flushed) << flushed.error().message;
  ASSERT_EQ(told_.size(), 1U);
  EXPECT_NE(told_[0].find("the pool goes on"), std::string::npos) << told_[0];
  EXPECT_EQ(pool_->status().survived_failures, 1U);
  EXPECT_EQ(pool_->status().health, "ok");
  EXPECT_EQ(pool_->status().epoch, before + 1);
  ASSERT_TRUE(wait(pool_->write(device->id, 4 * mib, pattern(1 * mib, 3))));
  for (int life = 0; life < 2; ++life) {
    expect_content(device->id, 0, std::vector<std::byte>(64 * kib));
    expect_content(device->id, 512 * kib, pattern(1 * mib, 2));
    crash();
  }
  ASSERT_TRUE(wait(pool_->checkpoint()));
  expect_content(device->id, 512 * kib, pattern(1 * mib, 2));
}

// Whatever a checkpoint writes or flushes may fail, once: it is made again, and what it should have
// merged is neither lost nor there twice.
TEST_F(PoolOnSimulatedDisk, ACheckpointWhoseDiskFailsOnceIsMadeAgain) {
  const auto device = wait(pool_->create("vm1", 16 * mib, {}));
  uint8_t version = 0;
  uint64_t survived = 0;
  for (uint64_t at = 1; at <= 24; ++at) {
    const auto first = pattern(256 * kib, ++version), second = pattern(256 * kib, ++version);
    ASSERT_TRUE(wait(pool_->write(device->id, 0, first)));
    ASSERT_TRUE(wait(pool_->write(device->id, 8 * mib, second)));
    ASSERT_TRUE(wait(pool_->erase(device->id, 8 * mib, 128 * kib)));
    SimFaults faults;
    (at % 2 ? faults.fail_write_at : faults.fail_flush_at) = 1 + at / 2;
    set_faults(*disk_, faults);
    auto done = wait(pool_->checkpoint());
    ASSERT_TRUE(done) << at << ": " << done.error().message;
    survived += pool_->status().survived_failures;
    EXPECT_FALSE(pool_->status().read_only);
    expect_content(device->id, 0, first);
    expect_content(device->id, 8 * mib + 128 * kib, {second.begin() + 128 * kib, second.end()});
    crash();
    expect_content(device->id, 0, first);
    expect_content(device->id, 8 * mib, std::vector<std::byte>(128 * kib));
    expect_content(device->id, 8 * mib + 128 * kib, {second.begin() + 128 * kib, second.end()});
  }
  EXPECT_GE(survived, 8U);
}

TEST_F(PoolOnSimulatedDisk, ADiskThatGoesOnFailingMakesThePoolReadOnlyAndItSaysWhy) {
  const auto device = wait(pool_->create("vm1", 16 * mib, {}));
  ASSERT_TRUE(wait(pool_->write(device->id, 0, pattern(1 * mib, 1))));
  ASSERT_TRUE(wait(pool_->flush(device->id)));
  ASSERT_TRUE(wait(pool_->write(device->id, 0, pattern(1 * mib, 2))));
  set_faults(*disk_, {.fail_write = 1});
  auto flushed = wait(pool_->flush(device->id));
  ASSERT_FALSE(flushed);
  EXPECT_EQ(flushed.error().code, Code::io);
  EXPECT_TRUE(pool_->status().read_only);
  EXPECT_EQ(pool_->status().health.find("read-only: "), 0U) << pool_->status().health;
  EXPECT_EQ(told_.size(), 1U);
  auto written = wait(pool_->write(device->id, 0, pattern(1 * mib, 3)));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Code::read_only);
  expect_content(device->id, 0, pattern(1 * mib, 2));  // from memory
}

// A reader who has looked up where something is, and waits for nodes, while that is written again
// elsewhere.
TEST_F(PoolOnSimulatedDisk, AReaderFindsWhatIsWrittenAgainMeanwhile) {
  const auto device = wait(pool_->create("vm1", 24 * mib, {}));
  const uint64_t blocks = 24 * mib / block_size;
  for (uint64_t block = 0; block < blocks; block += 2)  // so that the map has many leaves
    ASSERT_TRUE(wait(pool_->write(device->id, block * block_size, pattern(block_size, 1))));
  Buffer all(24 * mib);
  for (uint8_t i = 0; i < 40; ++i) {
    remount();  // no node is cached
    const auto data = pattern(block_size, i);
    ASSERT_TRUE(wait(pool_->write(device->id, 7 * block_size, data)));
    set_faults(*disk_, {.fail_flush_at = 1});
    std::string error;
    auto flushed = wait(flush_beside_a_read(*pool_, device->id, all.span(), error));
    ASSERT_TRUE(flushed) << flushed.error().message;
    EXPECT_EQ(pool_->status().survived_failures, 1U);
    ASSERT_EQ(error, "") << "at try " << int{i};
    EXPECT_EQ(0, std::memcmp(all.blocks(7, 1).data(), data.data(), block_size));
  }
}

// Of several facts about a block that were written again, the newest is the one that keeps its
// segment; or a rebuild would bring back what it hides (C4).
TEST_F(PoolOnSimulatedDisk, TheHomeOfAFactWrittenAgainIsThatOfTheNewest) {
  const auto facts = wait(pool_->create("vm1", 1 * mib, {}));
  const auto data = wait(pool_->create("vm2", 4 * mib, {}));
  remount();  // the log is at the front of a segment
  // A quarter of one; what is written in one step.
  const uint64_t step = pool_->status().blobs[0].segment_bytes / block_size / 4;
  const auto fill = [&](uint64_t at, uint64_t blocks, uint8_t seed) {
    const auto bytes = pattern(blocks * block_size, seed);
    return wait(pool_->write(data->id, at * block_size, bytes)).has_value();
  };
  ASSERT_TRUE(fill(0, step, 1));
  ASSERT_TRUE(wait(pool_->flush(data->id)));
  // The last of these steps does not fit the segment any more; the next epoch's it will, and then
  // the second erase lies in another one than the first.
  ASSERT_TRUE(fill(0, 3 * step, 2));
  ASSERT_TRUE(wait(pool_->erase(facts->id, 5 * block_size, 3 * block_size)));
  ASSERT_TRUE(wait(pool_->write(facts->id, 6 * block_size, pattern(block_size, 3))));
  ASSERT_TRUE(fill(3 * step, step, 4));
  ASSERT_TRUE(wait(pool_->erase(facts->id, 0, 15 * block_size)));
  set_faults(*disk_, {.fail_flush_at = 1});
  ASSERT_TRUE(wait(pool_->flush(data->id)));
  ASSERT_EQ(pool_->status().survived_failures, 1U);
  // All else in those segments dies, and what is wholly dead comes back.
  for (uint8_t round = 5; round < 15; ++round) {
    ASSERT_TRUE(fill(0, 512, round));
    ASSERT_TRUE(wait(pool_->checkpoint()));
  }
  ASSERT_TRUE(wait(pool_->close()));
  pool_.reset();
  const auto blobs = blobs_on(medium_, *executor_, false);
  Result<Rebuilt> rebuilt = fail(Code::io);
  ASSERT_TRUE(executor_->run_until(Rebuilt::from({blobs[0].get()}), rebuilt));
  ASSERT_TRUE(rebuilt) << rebuilt.error().message;
  Buffer block(block_size);
  ASSERT_TRUE(wait(rebuilt->read(rebuilt->devices().at(facts->id), DeviceBlock{6}, block.span())));
  EXPECT_TRUE(all_zero(block.span()));
}

// The tail is written again out of the reserve (D5), and deleting works as ever.
TEST_F(PoolOnSimulatedDisk, AFullPoolSurvivesAFailureToo) {
  const auto device = wait(pool_->create("vm1", 64 * mib, {}));
  uint64_t end = 0;
  for (;; end += 256 * kib) {
    auto written = wait(pool_->write(device->id, end, pattern(256 * kib, 1)));
    if (written) continue;
    ASSERT_EQ(written.error().code, Code::no_space);
    break;
  }
  for (uint8_t version = 2; version < 12; ++version) {
    for (uint64_t at = 0; at < 2 * mib; at += 256 * kib)
      ASSERT_TRUE(wait(pool_->write(device->id, at, pattern(256 * kib, version))));
    SimFaults faults;
    (version % 2 ? faults.fail_write_at : faults.fail_flush_at) = 1;
    set_faults(*disk_, faults);
    ASSERT_TRUE(wait(pool_->write(device->id, 0, pattern(256 * kib, 0))));
    auto flushed = wait(pool_->flush(device->id));
    ASSERT_TRUE(flushed) << flushed.error().message;
    if (version % 3 == 0) crash();
    expect_content(device->id, 0, pattern(256 * kib, 0));
    expect_content(device->id, 2 * mib - 256 * kib, pattern(256 * kib, version));
  }
  ASSERT_TRUE(wait(pool_->erase(device->id, 0, 32 * mib)));
  ASSERT_TRUE(wait(pool_->checkpoint()));
  EXPECT_TRUE(wait(pool_->write(device->id, 0, pattern(1 * mib, 2))));
}

// What the mover had copied before a failure is not believed afterwards: the pool is overwritten
// several times over, so that it works, and flushes fail all the while.
TEST_F(PoolOnSimulatedDisk, OverwritingForEverSurvivesFailuresForEver) {
  const auto device = wait(pool_->create("vm1", 30 * mib, {}));
  std::vector<uint8_t> versions(30 * mib / block_size);
  uint64_t survived = 0, moved = 0;
  for (int life = 0; life < 12; ++life) {
    SimFaults faults;
    faults.fail_flush_every = 12 + executor_->random()() % 12;
    set_faults(*disk_, faults);
    for (int i = 0; i < 4000; ++i) {
      const uint64_t block = executor_->random()() % versions.size();
      const auto data = pattern(block_size, ++versions[block]);
      auto written = wait(pool_->write(device->id, block * block_size, data));
      ASSERT_TRUE(written) << life << ", " << i << ": " << written.error().message;
    }
    auto flushed = wait(pool_->flush(device->id));
    ASSERT_TRUE(flushed) << life << ": " << flushed.error().message;
    const PoolStatus status = pool_->status();
    ASSERT_FALSE(status.read_only);
    survived += status.survived_failures;
    moved += status.moved_bytes;
    crash();
    for (size_t block = 0; block < versions.size(); ++block)
      if (versions[block])
        expect_content(device->id, block * block_size, pattern(block_size, versions[block]));
    ASSERT_FALSE(HasFailure()) << "in life " << life;
  }
  EXPECT_GT(survived, 20U);
  EXPECT_GT(moved, 10 * mib);
}

// Where each failure is followed by something good, but no checkpoint ever ends.
TEST_F(PoolOnSimulatedDisk, FailuresWithoutACheckpointInBetweenAreCounted) {
  const auto device = wait(pool_->create("vm1", 16 * mib, {}));
  bool good = true;
  for (int i = 0; i < 20 && good; ++i) {
    ASSERT_FALSE(pool_->status().read_only);
    set_faults(*disk_, {.fail_flush = 0.9});
    good = wait(pool_->checkpoint()).has_value();
    set_faults(*disk_, {});
  }
  EXPECT_FALSE(good);
  EXPECT_TRUE(pool_->status().read_only);
}

TEST_F(PoolOnSimulatedDisk, WhatWasWrittenIsReadAtOnceAndAfterARemount) {
  auto device = wait(pool_->create("vm1", 16 * mib, {}));
  ASSERT_TRUE(device) << device.error().message;
  const auto data = pattern(3 * mib + 1234, 1);
  auto written = wait(pool_->write(device->id, 4321, data));
  ASSERT_TRUE(written) << written.error().message;
  expect_content(device->id, 4321, data);
  auto flushed = wait(pool_->flush(device->id));
  ASSERT_TRUE(flushed);
  remount();
  auto found = pool_->find("vm1");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->size_bytes, 16 * mib);
  expect_content(found->id, 4321, data);
  auto checkpointed = wait(pool_->checkpoint());
  ASSERT_TRUE(checkpointed);
  expect_content(found->id, 4321, data);
}

TEST_F(PoolOnSimulatedDisk, OverwritingForEverFillsNothing) {
  auto device = wait(pool_->create("vm1", 24 * mib, {}));
  ASSERT_TRUE(device);
  std::vector<uint8_t> versions(24 * mib / block_size);
  for (int i = 0; i < 40000; ++i) {  // two and a half times the pool
    const uint64_t block = executor_->random()() % versions.size();
    const auto data = pattern(block_size, ++versions[block]);
    auto written = wait(pool_->write(device->id, block * block_size, data));
    ASSERT_TRUE(written) << i << ": " << written.error().message;
  }
  remount();
  for (size_t block = 0; block < versions.size(); ++block)
    if (versions[block])
      expect_content(device->id, block * block_size, pattern(block_size, versions[block]));
}

// What nobody can see is no data: shrinking, zeroing and overwriting up to the end take it along.
TEST_F(PoolOnSimulatedDisk, BytesBehindTheEndDoNotMakeABlockData) {
  const auto device = wait(pool_->create("vm1", 0, {}));
  ASSERT_TRUE(device);
  const auto mapped = [&] {
    const auto ranges = wait(pool_->map(device->id, DeviceBlock{0}, 100));
    uint64_t blocks = 0;
    for (const MappedRange& range : *ranges)
      if (range.state == RangeState::data) blocks += range.range.length().value;
    return blocks;
  };
  const std::vector<std::byte> byte(1, std::byte{7}), zero(1);
  ASSERT_TRUE(wait(pool_->write(device->id, 4095, byte)));
  EXPECT_EQ(mapped(), 1U);
  ASSERT_TRUE(wait(pool_->resize(device->id, 4095)));
  EXPECT_EQ(mapped(), 0U);

  ASSERT_TRUE(wait(pool_->write(device->id, 4000, byte)));
  ASSERT_TRUE(wait(pool_->write(device->id, 4090, byte)));
  ASSERT_TRUE(wait(pool_->resize(device->id, 4001)));  // the other one is behind the end now
  EXPECT_EQ(mapped(), 1U);
  ASSERT_TRUE(wait(pool_->write(device->id, 4000, zero)));
  EXPECT_EQ(mapped(), 0U);

  ASSERT_TRUE(wait(pool_->write(device->id, 4000, byte)));
  ASSERT_TRUE(wait(pool_->write(device->id, 4090, byte)));
  ASSERT_TRUE(wait(pool_->resize(device->id, 4001)));
  ASSERT_TRUE(wait(pool_->erase(device->id, 3999, 2)));
  EXPECT_EQ(mapped(), 0U);
}

// D10, D5: each crash while it opens abandons what the log had named; a full pool has nothing to
// spare for that.
TEST_F(PoolOnSimulatedDisk, AFullPoolOpensAfterAnyNumberOfCrashesWhileItOpened) {
  auto device = wait(pool_->create("vm1", 64 * mib, {}));
  ASSERT_TRUE(device);
  for (uint64_t at = 0;; at += 256 * kib) {
    auto written = wait(pool_->write(device->id, at, pattern(256 * kib, 1)));
    if (written) continue;
    ASSERT_EQ(written.error().code, Code::no_space);
    break;
  }
  auto second = wait(pool_->create("vm1", 1 * mib, {}));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::exists);
  std::mt19937_64 random(1);
  for (uint64_t life = 0; life < 200; ++life) {
    pool_.reset();
    medium_.power_cut(random);
    executor_ = std::make_unique<SimExecutor>(life);
    auto blobs = blobs_on(medium_, *executor_, false);
    if (life % 8 != 0) executor_->crash_after(1 + random() % 60);
    Result<std::unique_ptr<Pool>> opened;
    if (!executor_->run_until(Pool::open(std::move(blobs), {}), opened)) continue;
    ASSERT_TRUE(opened) << life << ": " << opened.error().message;
    pool_ = std::move(*opened);
  }
  pool_.reset();
  medium_.power_cut(random);
  executor_ = std::make_unique<SimExecutor>(1);
  open();
  auto erased = wait(pool_->erase(device->id, 0, 32 * mib));
  ASSERT_TRUE(erased) << erased.error().message;
  ASSERT_TRUE(wait(pool_->checkpoint()));
  EXPECT_TRUE(wait(pool_->write(device->id, 0, pattern(1 * mib, 2))));
}

// Both copies of a node lie in segments that are sealed together: a power cut that tore two headers
// just written again would hide them from everybody who looks for them by scanning (B3).
TEST_F(PoolOnSimulatedDisk, SealingNodesLeavesTheirSegmentsHeadersAlone) {
  const auto device = wait(pool_->create("vm1", 1 * mib, {}));
  SimExecutor nobody(0);
  SimMedium alike("alike", pool_bytes);  // for where segments lie
  const auto blobs = blobs_on(alike, nobody, true);
  int sealed = 0;
  for (int i = 0; i < 150 && sealed < 2; ++i) {  // as many nodes, and the tables with each
    ASSERT_TRUE(wait(pool_->write(device->id, 0, pattern(block_size, static_cast<uint8_t>(i)))));
    ASSERT_TRUE(wait(pool_->checkpoint()));
    sealed = 0;
    for (uint32_t index = 0; index < blobs[0]->segment_count(); ++index) {
      Buffer block(block_size);
      medium_.read(blobs[0]->offset(index, 0), block.span());
      const auto header = unpack_segment_header(block.span());
      if (!header || header->kind != SegmentClass::nodes || header->state == SegmentState::retired)
        continue;
      EXPECT_EQ(header->state, SegmentState::open);
      const uint32_t last = header->blocks - 1;
      medium_.read(blobs[0]->offset(index, last), block.span());
      if (back_summary_blocks(block.span(), header->secret,
                              {header->blob, index, header->generation, last}))
        ++sealed;
    }
  }
  EXPECT_GE(sealed, 2);
}

// C4: of what a segment held nothing counts before it is free. A cut of the power that undoes the
// discard finds the stamp.
TEST_F(PoolOnSimulatedDisk, WhatIsFreeBearsAStamp) {
  for (int round = 0; round < 12; ++round) {
    auto made = wait(pool_->create("d", 40 * mib, {}));
    ASSERT_TRUE(made) << made.error().message;
    for (uint64_t at = 0; at < 24; ++at)
      ASSERT_TRUE(wait(pool_->write(made->id, at * mib, pattern(mib, static_cast<uint8_t>(at)))));
    ASSERT_TRUE(wait(pool_->sync()));
    ASSERT_TRUE(wait(pool_->remove("d")));
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(wait(pool_->sync()));
    const BlobStatus status = pool_->status().blobs.front();
    pool_.reset();
    medium_.power_cut(executor_->random());
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
    const auto blobs = blobs_on(medium_, *executor_, false);
    uint32_t counting = 0;
    for (uint32_t index = 0; index < blobs[0]->segment_count(); ++index) {
      Buffer block(block_size);
      medium_.read(blobs[0]->offset(index, 0), block.span());
      const auto header = unpack_segment_header(block.span());
      if (header && header->state == SegmentState::sealed) ++counting;
    }
    EXPECT_LE(counting, status.segments_total - status.segments_free) << "in round " << round;
    open();
  }
}

}  // namespace
}  // namespace lamina
