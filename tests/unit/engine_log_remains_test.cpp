// SPDX-License-Identifier: Apache-2.0
// Of a segment of the log its beginning or its end is gone, and what tells of that elsewhere: what is
// left of it is there, and nothing older is taken for what is not (B1, B2).
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "blobs/summary.h"
#include "engine/repair/repair.h"
#include "engine_log_damage_fixture.h"

namespace lamina {
namespace {

class ASegmentOfFlushedWrites : public ALogOfFlushedWrites {
 protected:
  void SetUp() override {
    ALogOfFlushedWrites::SetUp();
    const uint32_t generation = records_[writes / 2].generation;
    const auto of_it = [&](const Record& one) { return one.generation == generation; };
    first_ = static_cast<size_t>(std::ranges::find_if(records_, of_it) - records_.begin());
    count_ = static_cast<size_t>(std::ranges::count_if(records_, of_it));
    ASSERT_GT(count_, 8u);
    ASSERT_TRUE(is_sealed(records_[first_]));
    begin_ = records_[first_].at - uint64_t{records_[first_].block} * block_size;
    blocks_ = segment_blocks(records_[first_]);
  }
  void destroy(SimMedium& medium, uint32_t from, uint32_t to) {
    const std::vector<std::byte> nothing(uint64_t{to - from} * block_size);
    medium.damage(begin_ + uint64_t{from} * block_size, nothing);
  }
  // All that was written is in the maps, and no checksums are cached.
  void merge(SimMedium& medium) {
    settings_.sums_bytes = 0;
    open(medium);
    ASSERT_TRUE(wait(pool_->checkpoint()));
    ASSERT_TRUE(wait(pool_->close()));
    close();
  }
  void close() {
    pool_.reset();
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
  }
  RepairReport repair_it(SimMedium& medium) {
    const auto repaired = wait(repair(blobs_on(medium, *executor_, false), {}, false));
    EXPECT_TRUE(repaired) << repaired.error().message;
    return repaired ? *repaired : RepairReport{};
  }
  // Which of the writes cannot be read; those that can are as they were written.
  std::set<size_t> unreadable() {
    std::set<size_t> out;
    for (size_t i = 0; i < writes; ++i) {
      std::vector<std::byte> got(block_size);
      const auto read = wait(pool_->read(device_, i * block_size, got));
      if (!read) out.insert(i);
      EXPECT_TRUE(!read || got == content(i)) << i;
    }
    return out;
  }
  static std::set<size_t> numbers(size_t from, size_t to) {
    std::set<size_t> out;
    for (; from < to; ++from) out.insert(from);
    return out;
  }

  size_t first_ = 0, count_ = 0;  // of the writes, whose records are in it
  uint64_t begin_ = 0;            // on the disk
  uint32_t blocks_ = 0;
};

// That it is of the log its records say, the first of which is gone (damage, "1 MiB contiguous", 25).
TEST_F(ASegmentOfFlushedWrites, WithoutItsBeginningLosesNoMoreThanThat) {
  constexpr size_t lost = 4;
  for (const bool rebuilds : {false, true}) {
    SCOPED_TRACE(rebuilds);
    const auto medium = medium_.clone();
    merge(*medium);
    destroy(*medium, 0, records_[first_ + lost].block);
    if (rebuilds) {
      const RepairReport report = repair_it(*medium);
      EXPECT_TRUE(report.suspect.empty());
    }
    open(*medium);
    EXPECT_EQ(unreadable(), numbers(first_, first_ + lost));
    close();
  }
}

// Its summary is gone too, so that nothing in it says what it is but records further on, and the
// log, which says where it was to go on.
// The summary there may be of what was there before (damage, "2048 random blocks of metadata", 15).
TEST_F(ASegmentOfFlushedWrites, IsFoundByTheNameThatTheLogGaveIt) {
  for (const bool older : {false, true}) {
    SCOPED_TRACE(older);
    const auto medium = medium_.clone();
    destroy(*medium, 0, records_[first_ + 4].block);
    destroy(*medium, blocks_ - 1, blocks_);
    if (older) {
      const auto blob = blob_on(*medium, *executor_);
      uint32_t index = 0;
      while (blob->offset(index, 0) != begin_) ++index;
      Summary summary;
      summary.epoch = 1;
      summary.smallest = summary.largest = 1;
      summary.entries.emplace_back();
      summary.entries.back().kind = EntryKind::zero;
      summary.entries.back().sequence = 1;
      summary.entries.back().map = MapId{1};
      summary.entries.back().length = BlockCount{writes};
      Buffer block(block_size);
      pack_summary(summary, blob->superblock().secret,
                   {blob->id(), index, Generation{1}, blocks_ - 1}, true, block.span());
      medium->damage(begin_ + uint64_t{blocks_ - 1} * block_size, block.span());
    }
    const RepairReport report = repair_it(*medium);
    EXPECT_EQ(report.missing_entries, 3u);  // the fourth is repeated
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
    open(*medium);
    // What came before may have been overwritten by those three.
    EXPECT_EQ(unreadable(), numbers(0, first_ + 4));
    close();
  }
}

// The next segment begins with what repeats its last record.
TEST_F(ASegmentOfFlushedWrites, HasItsLastRecordRepeatedInTheNext) {
  const Record& last = records_[first_ + count_ - 1];
  for (const bool rebuilds : {false, true}) {
    SCOPED_TRACE(rebuilds);
    const auto medium = medium_.clone();
    merge(*medium);
    destroy(*medium, 1, 2);  // its checksums
    destroy(*medium, last.block, last.block + 1);
    if (rebuilds) {
      destroy(*medium, blocks_ - 1, blocks_);
      const RepairReport report = repair_it(*medium);
      EXPECT_TRUE(report.untold.empty());
      EXPECT_TRUE(report.suspect.empty());
    }
    for (const bool again : {false, true}) {
      SCOPED_TRACE(again);
      open(*medium);
      EXPECT_TRUE(unreadable().empty());
      if (!again) {
        ASSERT_TRUE(wait(pool_->close()));
      }
      close();
    }
  }
}

// What the first records of a segment said, nobody can tell; what they overwrote is still there
// (damage, "2048 random blocks of metadata", 26).
TEST_F(ASegmentOfFlushedWrites, WithoutItsFirstRecordsBringsNothingOlderBack) {
  const auto newer = [this](size_t i) {
    return pattern(block_size, static_cast<uint8_t>(i + 101));
  };
  const auto medium = medium_.clone();
  open(*medium);
  for (size_t i = 0; i < writes; i += 2) {
    ASSERT_TRUE(wait(pool_->write(device_, i * block_size, newer(i))));
    ASSERT_TRUE(wait(pool_->flush(device_)));
  }
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(wait(pool_->checkpoint()));
  // A segment that is sealed and has three of them or more, and which they are.
  const auto ranges = wait(pool_->map(device_, DeviceBlock{0}, SIZE_MAX));
  ASSERT_TRUE(ranges);
  std::map<Generation, std::vector<std::pair<uint32_t, size_t>>> by_segment;
  for (const MappedRange& range : *ranges)
    if (range.range.begin.value % 2 == 0 && range.state == RangeState::data)
      by_segment[range.address.generation].push_back(
          {range.address.block, range.range.begin.value});
  ASSERT_TRUE(wait(pool_->close()));
  close();
  Generation victim = Generation::none;
  Buffer header(block_size);
  const auto blob = blob_on(*medium, *executor_);
  for (uint32_t index = 0; index < blob->segment_count(); ++index) {
    medium->read(blob->offset(index, 0), header.span());
    const auto found = unpack_segment_header(header.span());
    if (!found || found->state != SegmentState::sealed || by_segment[found->generation].size() < 9)
      continue;
    victim = found->generation;
    begin_ = blob->offset(index, 0);
  }
  ASSERT_NE(victim, Generation::none);
  auto& of_it = by_segment[victim];
  std::ranges::sort(of_it);
  const uint32_t first = payload_begin(SegmentClass::log, blocks_, 0);
  ASSERT_EQ(of_it[0].first, first + 1);
  for (const uint32_t block : {first, of_it[1].first - 1, blocks_ - 1})
    destroy(*medium, block, block + 1);
  const RepairReport report = repair_it(*medium);
  EXPECT_FALSE(report.untold.empty());
  open(*medium);
  for (size_t i = 0; i < writes; ++i) {
    std::vector<std::byte> got(block_size);
    const auto read = wait(pool_->read(device_, i * block_size, got));
    EXPECT_TRUE(!read || got == (i % 2 == 0 ? newer(i) : content(i))) << i;
    EXPECT_TRUE(read || i == of_it[0].second) << i;
  }
}

// Where something durable is destroyed in the last segment, what is behind its last record may be
// what is left of more.
TEST_F(ALogOfFlushedWrites, AnEndBesideDamageIsInDoubtWhereSomethingIsBehindIt) {
  for (const bool damaged : {false, true}) {
    SCOPED_TRACE(damaged);
    const auto medium = medium_.clone();
    const std::vector<std::byte> nothing(block_size);
    ASSERT_EQ(records_[writes - 6].generation, records_.back().generation);
    for (const size_t i : {writes - 2, writes - 1}) medium->damage(records_[i].at, nothing);
    if (damaged) medium->damage(records_[writes - 5].at, nothing);
    const auto repaired = wait(repair(blobs_on(*medium, *executor_, false), {}, false));
    ASSERT_TRUE(repaired) << repaired.error().message;
    EXPECT_EQ(repaired->end_in_doubt, damaged);
    EXPECT_EQ(!repaired->suspect.empty(), damaged);
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
  }
}

}  // namespace
}  // namespace lamina
