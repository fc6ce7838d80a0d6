// SPDX-License-Identifier: Apache-2.0
// Records that are gone of segments that were sealed: the seal tells what they said, and that they
// were durable (B1, B4).
#include <gtest/gtest.h>

#include "engine_log_damage_fixture.h"

namespace lamina {
namespace {

// Where their segment is sealed its summary tells what they covered; else nobody can, and what
// follows is not a prefix without them.
TEST_F(ALogOfFlushedWrites, TwoInARowAreKnownFromTheSealOfTheirSegmentAlone) {
  size_t known = 0, unknown = 0;
  for (size_t lost = 0; lost + 3 < records_.size(); ++lost) {
    SCOPED_TRACE(lost);
    const auto medium = medium_.clone();
    const bool sealed = is_sealed(records_[lost]);
    ++(sealed ? known : unknown);
    auto opened = open_without(*medium, std::span(records_).subspan(lost, 2));
    ASSERT_EQ(opened.has_value(), sealed) << (opened ? "" : opened.error().message);
    if (sealed) {
      pool_ = std::move(*opened);
      expect_all_written();
      pool_.reset();
    } else {
      EXPECT_EQ(opened.error().code, Code::corrupt) << opened.error().message;
    }
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
    if (HasFailure()) return;
  }
  EXPECT_GT(known, 0u);
  EXPECT_GT(unknown, 0u);
}

// All but the last of a segment, and what recovery makes of it lasts.
TEST_F(ALogOfFlushedWrites, WhatASealToldIsThereForGood) {
  const uint32_t generation = records_[writes / 2].generation;
  std::vector<Record> lost;
  for (const Record& record : records_)
    if (record.generation == generation) lost.push_back(record);
  ASSERT_TRUE(is_sealed(lost.back()));
  lost.pop_back();
  const auto medium = medium_.clone();
  auto opened = open_without(*medium, lost);
  ASSERT_TRUE(opened) << opened.error().message;
  for (const bool again : {false, true}) {
    pool_ = std::move(*opened);
    expect_all_written();
    if (again) return;
    ASSERT_TRUE(wait(pool_->write(device_, 0, content(0))));
    ASSERT_TRUE(wait(pool_->close()));
    pool_.reset();
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
    opened = wait(Pool::open(blobs_on(*medium, *executor_, false), {}));
    ASSERT_TRUE(opened) << opened.error().message;
  }
}

// Its payload is believed by the checksums alone, and those by the summary alone.
TEST_F(ALogOfFlushedWrites, NothingIsGuessedOfWhatASealDoesNotTell) {
  const size_t lost = writes / 2;
  ASSERT_TRUE(is_sealed(records_[lost]));
  const uint64_t begin = records_[lost].at - uint64_t{records_[lost].block} * block_size;
  const std::vector<std::byte> nothing(block_size);
  const auto two = std::span(records_).subspan(lost, 2);
  {
    const auto medium = medium_.clone();
    medium->damage(records_[lost].at + block_size, nothing);  // its payload
    auto opened = open_without(*medium, two);
    ASSERT_TRUE(opened) << opened.error().message;
    pool_ = std::move(*opened);
    std::vector<std::byte> got(block_size);
    EXPECT_FALSE(wait(pool_->read(device_, lost * block_size, got)));
    expect_content(device_, (lost + 1) * block_size, content(lost + 1));
    pool_.reset();
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
  }
  for (const uint32_t block : {1U, segment_blocks(records_[lost]) - 1}) {
    SCOPED_TRACE(block);
    const auto medium = medium_.clone();
    medium->damage(begin + uint64_t{block} * block_size, nothing);
    const auto opened = open_without(*medium, two);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, Code::corrupt) << opened.error().message;
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
  }
  // All records of a segment: where the log went on behind it, they alone say.
  std::vector<Record> all;
  for (const Record& record : records_)
    if (record.generation == records_[lost].generation) all.push_back(record);
  const auto medium = medium_.clone();
  const auto opened = open_without(*medium, all);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::corrupt) << opened.error().message;
}

// Those of a segment that was sealed meanwhile its seal tells, and the next one does as well.
TEST_F(ALogOfFlushedWrites, SeveralBelowTheCutAreKnownFromTheSealOfTheirSegment) {
  const auto newer = [this](size_t i) {
    return pattern(block_size, static_cast<uint8_t>(i + 101));
  };
  const auto reopen = [this] {
    pool_.reset();
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
    auto opened = wait(Pool::open(blobs_on(medium_, *executor_, false), {}));
    ASSERT_TRUE(opened) << opened.error().message;
    pool_ = std::move(*opened);
  };
  reopen();
  constexpr size_t rewritten = 130;
  for (size_t i = 0; i < rewritten; ++i) {
    if (i == 9) {
      ASSERT_TRUE(wait(pool_->checkpoint()));
    }
    ASSERT_TRUE(wait(pool_->write(device_, i * block_size, newer(i))));
    ASSERT_TRUE(wait(pool_->flush(device_)));
  }
  find_records();
  std::vector<Record> lost;
  const auto ranges = wait(pool_->map(device_, DeviceBlock{0}, SIZE_MAX));
  ASSERT_TRUE(ranges);
  for (const MappedRange& range : *ranges)
    for (const Record& record : records_)
      if (range.range.begin.value < 7 && raw(range.address.generation) == record.generation &&
          range.address.block == record.block + 1)
        lost.push_back(record);
  ASSERT_EQ(lost.size(), 7u);
  ASSERT_TRUE(is_sealed(lost.front()));
  pool_.reset();
  medium_.power_cut(executor_->random());
  const std::vector<std::byte> nothing(block_size);
  for (const Record& record : lost) medium_.damage(record.at, nothing);
  for (const bool again : {false, true}) {
    SCOPED_TRACE(again);
    reopen();
    for (size_t i = 0; i < writes; ++i)
      expect_content(device_, i * block_size, i < rewritten ? newer(i) : content(i));
  }
}

// A segment is sealed when all of it is durable, so its header is a witness of its records.
TEST_F(ALogOfFlushedWrites, ASealedSegmentWhoseLastRecordsAreGoneIsNoEnd) {
  const uint32_t sealed = records_[writes / 3].generation;
  const std::vector<std::byte> nothing(block_size);
  for (uint32_t from : {8U, 30U}) {
    const auto medium = medium_.clone();
    for (const Record& record : records_) {
      if (record.generation < sealed || (record.generation == sealed && record.block < from))
        continue;
      medium->damage(record.at, nothing);
      if (record.generation > sealed)
        medium->damage(record.at - uint64_t{record.block} * block_size, nothing);
    }
    const auto opened = open_without(*medium, {});
    ASSERT_FALSE(opened) << from;
    EXPECT_EQ(opened.error().code, Code::corrupt) << opened.error().message;
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
  }
}

}  // namespace
}  // namespace lamina
