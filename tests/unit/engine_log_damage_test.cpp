// SPDX-License-Identifier: Apache-2.0
// Records of the log's tail that are gone although they were durable (A2, B1).
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "engine/repair/repair.h"
#include "engine_log_damage_fixture.h"
#include "tests/metadata_places.h"

namespace lamina {
namespace {

TEST_F(ALogOfFlushedWrites, AnyOneOfTheirRecordsIsKnownFromTheNext) {
  for (size_t lost = 0; lost + 1 < records_.size(); ++lost) {
    const auto medium = medium_.clone();
    auto opened = open_without(*medium, std::span(records_).subspan(lost, 1));
    ASSERT_TRUE(opened) << lost << ": " << opened.error().message;
    pool_ = std::move(*opened);
    SCOPED_TRACE("record " + std::to_string(lost));
    expect_all_written();
    pool_.reset();
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
    if (HasFailure()) return;
  }
}

// A repair goes on without the first: what it may have overwritten is EIO until somebody accepts
// what was there before, and what came after it is there.
TEST_F(ALogOfFlushedWrites, WhatTwoInARowMayHaveOverwrittenIsSuspect) {
  for (size_t lost = 3; lost + 3 < records_.size(); lost += 50) {
    SCOPED_TRACE(lost);
    const auto medium = medium_.clone();
    const std::vector<std::byte> nothing(block_size);
    for (const Record& record : std::span(records_).subspan(lost, 2))
      medium->damage(record.at, nothing);
    const auto repaired = wait(repair(blobs_on(*medium, *executor_, false), {}, false));
    ASSERT_TRUE(repaired) << repaired.error().message;
    // Where the segment is sealed, its summary tells what they were (F9).
    if (repaired->missing_entries == 0) continue;
    auto opened = wait(Pool::open(blobs_on(*medium, *executor_, false), {}));
    ASSERT_TRUE(opened) << opened.error().message;
    pool_ = std::move(*opened);
    for (size_t i = 0; i < writes; ++i) {
      std::vector<std::byte> got(block_size);
      const auto read = wait(pool_->read(device_, i * block_size, got));
      ASSERT_EQ(read.has_value(), i > lost) << i;  // the second is repeated by the one behind it
      ASSERT_TRUE(!read || got == content(i)) << i;
    }
    ASSERT_TRUE(wait(pool_->accept_suspect(device_)));
    expect_content(device_, 0, content(0));
    expect_content(device_, lost * block_size, std::vector<std::byte>(block_size));
    pool_.reset();
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
  }
}

// They are in the maps. The segment's summary that a recovery writes lacks the first of them, so a
// repair must not take what it has overwritten for the newest (damage, "64 random blocks", seed 1).
class TwoRecordsBelowTheCut : public ALogOfFlushedWrites {
 protected:
  static constexpr size_t rewritten = 9;

  void SetUp() override {
    ALogOfFlushedWrites::SetUp();
    settings_.nodes_bytes = 0;
    reopen();
    for (size_t i = 0; i < rewritten; ++i) {
      if (i + 1 == rewritten) {
        ASSERT_TRUE(wait(pool_->sync()));
      }
      ASSERT_TRUE(wait(pool_->write(device_, i * block_size, newer(i))));
      ASSERT_TRUE(wait(pool_->flush(device_)));
    }
    find_records();
    const uint32_t last = records_.back().generation;
    std::erase_if(records_, [last](const Record& record) { return record.generation != last; });
    ASSERT_GE(records_.size(), rewritten);
    pool_.reset();
    medium_.power_cut(executor_->random());
    const std::vector<std::byte> nothing(block_size);
    for (const Record& lost : std::span(records_).subspan(3, 2)) medium_.damage(lost.at, nothing);
    reopen();
  }
  std::vector<std::byte> newer(size_t i) {
    return pattern(block_size, static_cast<uint8_t>(101 + i));
  }
  void reopen() {
    pool_.reset();
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
    auto opened = wait(Pool::open(blobs_on(medium_, *executor_, false), settings_));
    ASSERT_TRUE(opened) << opened.error().message;
    pool_ = std::move(*opened);
  }
  // What can be read of them is the newest.
  std::vector<size_t> unreadable() {
    std::vector<size_t> out;
    for (size_t i = 0; i < rewritten; ++i) {
      std::vector<std::byte> got(block_size);
      const auto read = wait(pool_->read(device_, i * block_size, got));
      if (!read) out.push_back(i);
      EXPECT_TRUE(!read || got == newer(i)) << i;
    }
    return out;
  }
};

TEST_F(TwoRecordsBelowTheCut, CostTheFirstAndBringNothingOlderBack) {
  const std::vector<size_t> lost = unreadable();
  EXPECT_EQ(lost.size(), 1u);
  ASSERT_TRUE(wait(pool_->close()));
  pool_.reset();
  executor_ = std::make_unique<SimExecutor>(executor_->steps());
  ASSERT_TRUE(wait(repair(blobs_on(medium_, *executor_, false), {}, false)));
  reopen();
  EXPECT_EQ(unreadable(), lost);
}

// What a leaf referred to there nobody can tell, so nothing older is taken for it (B2).
TEST_F(TwoRecordsBelowTheCut, AreMissedWhereALeafIsMadeAgain) {
  ASSERT_TRUE(wait(pool_->close()));
  reopen();
  const auto blob = blob_on(medium_, *executor_);
  MetadataPlaces places;
  places.add(medium_, *blob);
  std::mt19937_64 noise(3);
  for (const auto& [id, node] : places.nodes())
    for (const MetadataPlaces::Place& place : node.places) MetadataPlaces::spoil(place, noise);
  EXPECT_FALSE(unreadable().empty());
}

// Of a segment that is sealed and merged the array is gone as well, with or without the summary:
// the records behind the gap say their checksums themselves.
TEST_F(ALogOfFlushedWrites, TwoInARowOfASegmentWithoutItsArrayCostTheFirst) {
  for (const bool summary_too : {false, true}) {
    SCOPED_TRACE(summary_too);
    const auto medium = medium_.clone();
    settings_.sums_bytes = 0;
    auto opened = wait(Pool::open(blobs_on(*medium, *executor_, false), settings_));
    ASSERT_TRUE(opened) << opened.error().message;
    pool_ = std::move(*opened);
    ASSERT_TRUE(wait(pool_->checkpoint()));
    ASSERT_TRUE(wait(pool_->checkpoint()));
    const size_t lost = writes / 2;
    ASSERT_EQ(records_[lost - 2].generation, records_[lost + 4].generation);
    const std::vector<std::byte> nothing(block_size);
    const uint64_t begin = records_[lost].at - uint64_t{records_[lost].block} * block_size;
    Buffer header(block_size);
    medium->read(begin, header.span());
    const uint32_t blocks = little_endian<le32>(header, 56);
    for (const uint32_t block : {0U, 1U, summary_too ? blocks - 1 : 0U})
      medium->damage(begin + uint64_t{block} * block_size, nothing);
    for (const size_t i : {lost, lost + 1}) medium->damage(records_[i].at, nothing);
    for (size_t i = 0; i < writes; ++i) {
      std::vector<std::byte> got(block_size);
      const auto read = wait(pool_->read(device_, i * block_size, got));
      EXPECT_EQ(read.has_value(), i != lost) << i;
      EXPECT_TRUE(!read || got == content(i)) << i;
    }
    ask_to_scrub();
    const auto done = [this] { return pool_->status().scrub.answered >= 1; };
    for (int i = 0; i < 10'000 && !done(); ++i) ASSERT_TRUE(executor_->run_until(pause(1'000'000)));
    ASSERT_TRUE(done());
    ASSERT_EQ(pool_->lost().size(), 1u);
    EXPECT_EQ(pool_->lost()[0].range.begin.value, lost);
    EXPECT_EQ(pool_->lost()[0].range.length().value, 1u);
    pool_.reset();
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
  }
}

// What the chain does not reach any more says itself that it follows something that was durable.
TEST_F(ALogOfFlushedWrites, AStretchOfSegmentsIsNotTakenForTheEndOfTheLog) {
  const uint32_t last = records_.back().generation;
  for (uint32_t first_lost = records_.front().generation; first_lost < last; ++first_lost) {
    std::vector<Record> lost;
    for (const Record& record : records_)
      if (record.generation >= first_lost && record.generation < last) lost.push_back(record);
    const auto medium = medium_.clone();
    const auto opened = open_without(*medium, lost);
    ASSERT_FALSE(opened) << first_lost;
    EXPECT_EQ(opened.error().code, Code::corrupt) << opened.error().message;
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
  }
}

// Nothing is left that knows more; but what the checkpoint knows to be there is gone as well.
TEST_F(ALogOfFlushedWrites, AnEmptyLogIsNotBelievedWhereItsSegmentIsGone) {
  const auto medium = medium_.clone();
  Buffer header(block_size);
  for (const Record& record : records_) {
    const uint64_t begin = record.at - uint64_t{record.block} * block_size;
    medium->read(begin, header.span());
    const uint32_t blocks = little_endian<le32>(header, 56);
    const std::vector<std::byte> nothing(uint64_t{blocks} * block_size);
    if (blocks > 0) medium->damage(begin, nothing);
  }
  const auto opened = open_without(*medium, {});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::corrupt) << opened.error().message;
}

}  // namespace
}  // namespace lamina
