// SPDX-License-Identifier: Apache-2.0
// The simulated disk keeps what a flush promises, and nothing more.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <vector>

#include "base/buffer.h"
#include "blobs/sim_disk.h"
#include "tests/unit/disk_operations.h"

namespace lamina {
namespace {

constexpr uint64_t medium_bytes = 4 * mib;

// A medium, opened, with calls that wait.
class AnOpenSimDisk : public testing::Test {
 protected:
  Result<> wait(Task<Result<>> task) {
    Result<> result;
    EXPECT_TRUE(executor_->run_until(std::move(task), result));
    return result;
  }
  void reopen() {
    executor_ = std::make_unique<SimExecutor>(++seed_);
    disk_ = open_sim_disk(medium_, *executor_);
  }
  void cut_power() {
    medium_.power_cut(random_);
    reopen();
  }
  // The value of each 512-byte piece there, each of which must be of one value.
  std::vector<int> pieces(uint64_t offset, size_t bytes) {
    std::vector<std::byte> found(bytes);
    medium_.read(offset, found);
    std::vector<int> values;
    for (size_t at = 0; at < bytes; at += 512) {
      values.push_back(std::to_integer<int>(found[at]));
      EXPECT_TRUE(std::all_of(found.begin() + static_cast<ptrdiff_t>(at),
                              found.begin() + static_cast<ptrdiff_t>(at + 512),
                              [&](std::byte b) { return b == found[at]; }));
    }
    return values;
  }

  uint64_t seed_ = 1;
  std::mt19937_64 random_{7};
  SimMedium medium_{"disk", medium_bytes};
  std::unique_ptr<SimExecutor> executor_ = std::make_unique<SimExecutor>(seed_);
  std::unique_ptr<Disk> disk_ = open_sim_disk(medium_, *executor_);
};

TEST_F(AnOpenSimDisk, ReadsWhatWasWrittenAndZeroesElsewhere) {
  const Buffer data = filled(8192, 5);
  ASSERT_TRUE(wait(write(*disk_, 4096, data)));
  Buffer found(16384);
  ASSERT_TRUE(wait(read(*disk_, 0, found)));
  EXPECT_EQ(found.data()[4095], std::byte{0});
  EXPECT_EQ(found.data()[4096], std::byte{5});
  EXPECT_EQ(found.data()[12287], std::byte{5});
  EXPECT_EQ(found.data()[12288], std::byte{0});
}

TEST_F(AnOpenSimDisk, AFlushedWriteSurvivesEveryPowerCut) {
  const Buffer data = filled(4096, 5);
  ASSERT_TRUE(wait(write(*disk_, 0, data)));
  ASSERT_TRUE(wait(flush(*disk_)));
  for (int i = 0; i < 50; ++i) {
    cut_power();
    EXPECT_EQ(pieces(0, 4096), std::vector<int>(8, 5));
  }
}

TEST_F(AnOpenSimDisk, AWriteThatGoesThroughSurvivesAndMakesNothingElseDurable) {
  const Buffer before = filled(4096, 5), through = filled(4096, 6);
  int dropped = 0;
  for (int i = 0; i < 100; ++i) {
    const Buffer old = filled(4096, 1);
    ASSERT_TRUE(wait(write(*disk_, 0, old)));
    ASSERT_TRUE(wait(flush(*disk_)));
    ASSERT_TRUE(wait(write(*disk_, 0, before)));
    ASSERT_TRUE(wait(write_through(*disk_, 4096, through)));
    cut_power();
    EXPECT_EQ(pieces(4096, 4096), std::vector<int>(8, 6));
    dropped += pieces(0, 4096) == std::vector<int>(8, 1);
  }
  EXPECT_GT(dropped, 10);
}

TEST_F(AnOpenSimDisk, AnUnflushedWriteIsKeptDroppedOrTornAt512Bytes) {
  const Buffer old = filled(8192, 1), young = filled(8192, 2);
  int kept = 0, dropped = 0, torn = 0;
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(wait(write(*disk_, 0, old)));
    ASSERT_TRUE(wait(flush(*disk_)));
    ASSERT_TRUE(wait(write(*disk_, 0, young)));
    cut_power();
    const auto found = pieces(0, 8192);
    const auto young_pieces = std::count(found.begin(), found.end(), 2);
    EXPECT_EQ(std::count(found.begin(), found.end(), 1) + young_pieces, 16);
    ++(young_pieces == 16 ? kept : young_pieces == 0 ? dropped : torn);
  }
  EXPECT_GT(kept, 20);
  EXPECT_GT(dropped, 20);
  EXPECT_GT(torn, 20);
}

TEST_F(AnOpenSimDisk, UnflushedWritesSurviveInAnyCombination) {
  std::set<int> combinations;
  for (int i = 0; i < 400; ++i) {
    const Buffer zero = filled(3 * 4096, 0), data = filled(4096, 1);
    ASSERT_TRUE(wait(write(*disk_, 0, zero)));
    ASSERT_TRUE(wait(flush(*disk_)));
    for (uint64_t block = 0; block < 3; ++block)
      ASSERT_TRUE(wait(write(*disk_, block * 4096, data)));
    cut_power();
    int combination = 0;
    for (uint64_t block = 0; block < 3; ++block)
      combination = combination * 2 + (pieces(block * 4096, 512)[0] == 1 ? 1 : 0);
    combinations.insert(combination);
  }
  EXPECT_EQ(combinations.size(), 8U);
}

// Whether the write was the first to complete.
Task<bool> flush_while_writing(Disk& disk, const Buffer& from) {
  IoBatch writing, flushing;
  writing.write(disk, 0, from.span());
  flushing.flush(disk);
  co_await writing;
  const bool write_first = !flushing.await_ready();
  co_await flushing;
  co_return write_first;
}

TEST_F(AnOpenSimDisk, AFlushPromisesNothingForAWriteThatWasUnderWayWhenItBegan) {
  int lost = 0;
  for (int i = 0; i < 200; ++i) {
    const Buffer zero = filled(4096, 0), data = filled(4096, 1);
    ASSERT_TRUE(wait(write(*disk_, 0, zero)));
    ASSERT_TRUE(wait(flush(*disk_)));
    bool write_first = false;
    ASSERT_TRUE(executor_->run_until(flush_while_writing(*disk_, data), write_first));
    cut_power();
    if (write_first && pieces(0, 512)[0] == 0) ++lost;
  }
  EXPECT_GT(lost, 10);
}

TEST_F(AnOpenSimDisk, AFlushThatFailedIsNotMendedByTheNext) {
  int lost = 0;
  for (int i = 0; i < 100; ++i) {
    const Buffer zero = filled(4096, 0), data = filled(4096, 1);
    ASSERT_TRUE(wait(write(*disk_, 0, zero)));
    ASSERT_TRUE(wait(flush(*disk_)));
    ASSERT_TRUE(wait(write(*disk_, 0, data)));
    SimFaults faults;
    faults.fail_flush_at = 1;
    set_faults(*disk_, faults);
    EXPECT_FALSE(wait(flush(*disk_)));
    ASSERT_TRUE(wait(flush(*disk_)));
    cut_power();
    if (pieces(0, 512)[0] == 0) ++lost;
  }
  EXPECT_GT(lost, 10);
}

TEST_F(AnOpenSimDisk, WhatIsWrittenAgainAfterAFailedFlushIsDurableAfterTheNext) {
  for (int i = 0; i < 50; ++i) {
    const Buffer doomed = filled(4096, 1), again = filled(4096, 2);
    ASSERT_TRUE(wait(write(*disk_, 0, doomed)));
    SimFaults faults;
    faults.fail_flush_at = 1;
    set_faults(*disk_, faults);
    EXPECT_FALSE(wait(flush(*disk_)));
    ASSERT_TRUE(wait(write(*disk_, 0, again)));
    ASSERT_TRUE(wait(flush(*disk_)));
    cut_power();
    EXPECT_EQ(pieces(0, 4096), std::vector<int>(8, 2));
  }
}

TEST_F(AnOpenSimDisk, AKilledProcessLosesNoCompletedWriteAndFlushesNone) {
  int lost = 0;
  for (int i = 0; i < 100; ++i) {
    const Buffer zero = filled(4096, 0), data = filled(4096, 1);
    ASSERT_TRUE(wait(write(*disk_, 0, zero)));
    ASSERT_TRUE(wait(flush(*disk_)));
    ASSERT_TRUE(wait(write(*disk_, 0, data)));
    medium_.process_killed(random_);
    reopen();
    EXPECT_EQ(pieces(0, 4096), std::vector<int>(8, 1));
    cut_power();
    if (pieces(0, 512)[0] == 0) ++lost;
  }
  EXPECT_GT(lost, 10);
}

TEST_F(AnOpenSimDisk, WithoutAWriteCacheWritesAreDurableWhenTheyComplete) {
  DiskTraits traits;
  traits.write_cache = false;
  medium_.set_traits(traits);
  const Buffer data = filled(4096, 5);
  ASSERT_TRUE(wait(write(*disk_, 0, data)));
  for (int i = 0; i < 20; ++i) {
    cut_power();
    EXPECT_EQ(pieces(0, 4096), std::vector<int>(8, 5));
  }
}

TEST_F(AnOpenSimDisk, DiscardedBlocksHoldOldBytesOrZeroesOrGarbage) {
  std::set<int> found;
  for (int i = 0; i < 100; ++i) {
    const Buffer older = filled(4096, 1), old = filled(4096, 2);
    ASSERT_TRUE(wait(write(*disk_, 0, older)));
    ASSERT_TRUE(wait(flush(*disk_)));
    ASSERT_TRUE(wait(write(*disk_, 0, old)));
    ASSERT_TRUE(wait(discard(*disk_, 0, 4096)));
    std::vector<std::byte> bytes(2);
    medium_.read(0, bytes);
    found.insert(bytes[0] == bytes[1] ? std::to_integer<int>(bytes[0]) : 1000);
  }
  EXPECT_TRUE(found.contains(0) && found.contains(1) && found.contains(2) && found.contains(1000));
}

TEST_F(AnOpenSimDisk, ALatentErrorLastsUntilTheBlockIsWritten) {
  medium_.fail_reads(8192, 1);
  Buffer into(16384);
  const auto failed = wait(read(*disk_, 0, into));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Code::io);
  EXPECT_NE(failed.error().message.find("disk: reading at byte 0"), std::string::npos);
  const Buffer data = filled(4096, 1);
  ASSERT_TRUE(wait(write(*disk_, 8192, data)));
  EXPECT_TRUE(wait(read(*disk_, 0, into)));
}

TEST_F(AnOpenSimDisk, DamageIsSeenByTheNextRead) {
  const std::byte bad[3] = {std::byte{9}, std::byte{9}, std::byte{9}};
  medium_.damage(4095, bad);
  Buffer into(8192);
  ASSERT_TRUE(wait(read(*disk_, 0, into)));
  EXPECT_EQ(into.data()[4094], std::byte{0});
  EXPECT_EQ(into.data()[4095], std::byte{9});
  EXPECT_EQ(into.data()[4097], std::byte{9});
}

TEST_F(AnOpenSimDisk, TheNthCallFailsAndOnlyThat) {
  SimFaults faults;
  faults.fail_write_at = 2;
  faults.fail_read_at = 1;
  set_faults(*disk_, faults);
  const Buffer data = filled(4096, 1);
  Buffer into(4096);
  EXPECT_TRUE(wait(write(*disk_, 0, data)));
  EXPECT_FALSE(wait(write(*disk_, 0, data)));
  EXPECT_TRUE(wait(write(*disk_, 0, data)));
  EXPECT_FALSE(wait(read(*disk_, 0, into)));
  EXPECT_TRUE(wait(read(*disk_, 0, into)));
}

TEST_F(AnOpenSimDisk, ADeadDiskFailsEverything) {
  SimFaults faults;
  faults.dead = true;
  set_faults(*disk_, faults);
  Buffer data = filled(4096, 1);
  EXPECT_FALSE(wait(write(*disk_, 0, data)));
  EXPECT_FALSE(wait(read(*disk_, 0, data)));
  EXPECT_FALSE(wait(flush(*disk_)));
  EXPECT_FALSE(wait(discard(*disk_, 0, 4096)));
}

TEST_F(AnOpenSimDisk, LostAndMisdirectedWritesSeemToSucceed) {
  const Buffer data = filled(4096, 1);
  SimFaults faults;
  faults.lose_write = 1;
  set_faults(*disk_, faults);
  ASSERT_TRUE(wait(write(*disk_, 0, data)));
  EXPECT_EQ(pieces(0, medium_bytes), std::vector<int>(medium_bytes / 512, 0));
  faults.lose_write = 0;
  faults.misdirect_write = 1;
  set_faults(*disk_, faults);
  ASSERT_TRUE(wait(write(*disk_, 0, data)));
  const auto found = pieces(0, medium_bytes);
  EXPECT_EQ(std::count(found.begin(), found.end(), 1), 8);
}

TEST_F(AnOpenSimDisk, AFlushThatLiesMakesNothingDurable) {
  SimFaults faults;
  faults.lie_about_flushes = true;
  int lost = 0;
  for (int i = 0; i < 60; ++i) {
    const Buffer zero = filled(4096, 0), data = filled(4096, 1);
    set_faults(*disk_, {});
    ASSERT_TRUE(wait(write(*disk_, 0, zero)));
    ASSERT_TRUE(wait(flush(*disk_)));
    set_faults(*disk_, faults);
    ASSERT_TRUE(wait(write(*disk_, 0, data)));
    ASSERT_TRUE(wait(flush(*disk_)));
    cut_power();
    if (pieces(0, 512)[0] == 0) ++lost;
  }
  EXPECT_GT(lost, 5);
}

TEST_F(AnOpenSimDisk, AReadPastTheEndIsAnError) {
  Buffer into(8192);
  EXPECT_FALSE(wait(read(*disk_, medium_bytes - 4096, into)));
}

TEST_F(AnOpenSimDisk, AdoptsASizeThatGrew) {
  medium_.grow(2 * medium_bytes);
  EXPECT_EQ(disk_->size(), medium_bytes);
  EXPECT_EQ(disk_->refresh_size().value(), 2 * medium_bytes);
  EXPECT_EQ(disk_->size(), 2 * medium_bytes);
}

TEST_F(AnOpenSimDisk, ACloneTakesAnotherFate) {
  const Buffer data = filled(4096, 1);
  ASSERT_TRUE(wait(write(*disk_, 0, data)));
  std::set<int> fates;
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const auto copy = medium_.clone();
    std::mt19937_64 random(seed);
    copy->power_cut(random);
    std::vector<std::byte> found(1);
    copy->read(0, found);
    fates.insert(std::to_integer<int>(found[0]));
  }
  EXPECT_EQ(fates, (std::set<int>{0, 1}));
  EXPECT_EQ(pieces(0, 4096), std::vector<int>(8, 1));
}

// Streaming.

class AWatchedSegment : public AnOpenSimDisk {
 protected:
  void SetUp() override {
    medium_.watch({65536, 65536, [](uint32_t block) { return block == 0; }});
    medium_.on_violation([this](const std::string& what) { violations_.push_back(what); });
  }
  bool violates(uint64_t block) {
    const Buffer data = filled(4096, 1);
    const size_t before = violations_.size();
    EXPECT_TRUE(wait(write(*disk_, 65536 + block * 4096, data)));
    return violations_.size() != before;
  }
  std::vector<std::string> violations_;
};

TEST_F(AWatchedSegment, MayBeFilledFrontToBackOnceAndAgainAfterADiscard) {
  for (uint64_t block = 0; block < 16; ++block) EXPECT_FALSE(violates(block));
  ASSERT_TRUE(wait(discard(*disk_, 65536, 65536)));
  EXPECT_FALSE(violates(3));
  EXPECT_FALSE(violates(5));
}

TEST_F(AWatchedSegment, MustNotBeWrittenTwice) {
  EXPECT_FALSE(violates(3));
  EXPECT_TRUE(violates(3));
}

TEST_F(AWatchedSegment, MayHaveRepeatedWhatAnEarlierLifeWroteAsItIs) {
  EXPECT_FALSE(violates(3));
  reopen();
  EXPECT_FALSE(violates(3));  // the same bytes
  const Buffer other = filled(4096, 2);
  ASSERT_TRUE(wait(write(*disk_, 65536 + 3 * 4096, other)));
  EXPECT_EQ(violations_.size(), 1U);
  EXPECT_FALSE(violates(4));
  EXPECT_TRUE(violates(4));  // that was this life
}

TEST_F(AWatchedSegment, MustNotBeWrittenBackwards) {
  EXPECT_FALSE(violates(5));
  EXPECT_TRUE(violates(4));
}

TEST_F(AWatchedSegment, MayHaveItsExceptedBlocksWrittenAgain) {
  EXPECT_FALSE(violates(0));
  EXPECT_FALSE(violates(7));
  EXPECT_FALSE(violates(0));
}

TEST_F(AWatchedSegment, IsNotReleasedByADiscardOfAPartOfIt) {
  EXPECT_FALSE(violates(5));
  ASSERT_TRUE(wait(discard(*disk_, 65536, 32768)));
  EXPECT_TRUE(violates(5));
}

TEST_F(AWatchedSegment, DoesNotMatterToWritesElsewhere) {
  const Buffer data = filled(4096, 1);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(wait(write(*disk_, 0, data)));
    ASSERT_TRUE(wait(write(*disk_, 131072, data)));
  }
  EXPECT_TRUE(violations_.empty());
}

Task<Result<>> write_both(Disk& disk, const Buffer& one, uint64_t where, const Buffer& other,
                          uint64_t there) {
  IoBatch batch;
  batch.write(disk, where, one.span());
  batch.write(disk, there, other.span());
  co_await batch;
  co_return batch.result();
}

TEST_F(AWatchedSegment, OverlappingWritesUnderWayAreAViolation) {
  const Buffer one = filled(8192, 1), other = filled(4096, 2);
  ASSERT_TRUE(wait(write_both(*disk_, one, 0, other, 8192)));
  EXPECT_TRUE(violations_.empty());
  ASSERT_TRUE(wait(write_both(*disk_, one, 0, other, 4096)));
  EXPECT_EQ(violations_.size(), 1U);
}

Task<Result<>> write_and_change(Disk& disk, Buffer& buffer) {
  IoBatch batch;
  batch.write(disk, 0, buffer.span());
  buffer.data()[17] ^= std::byte{1};
  co_await batch;
  co_return batch.result();
}

TEST_F(AWatchedSegment, MemoryThatChangesUnderAWriteIsAViolation) {
  Buffer data = filled(4096, 1);
  ASSERT_TRUE(wait(write_and_change(*disk_, data)));
  EXPECT_EQ(violations_.size(), 1U);
}

}  // namespace
}  // namespace lamina
