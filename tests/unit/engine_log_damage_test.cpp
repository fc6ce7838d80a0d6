// SPDX-License-Identifier: Apache-2.0
// Records of the log's tail that are gone although they were durable (A2, B1).
#include <gtest/gtest.h>

#include <algorithm>

#include "base/endian.h"
#include "engine/repair/repair.h"
#include "engine_pool_fixture.h"
#include "tests/metadata_places.h"

namespace lamina {
namespace {

template <class Le>
auto little_endian(const Buffer& block, size_t offset) {
  Le value;
  std::memcpy(value.bytes.data(), block.data() + offset, sizeof value);
  return value.load();
}

class ALogOfFlushedWrites : public PoolOnSimulatedDisk {
 protected:
  static constexpr size_t writes = 260;

  struct Record {
    uint64_t at = 0;  // on the disk
    uint32_t generation = 0, block = 0;
    uint64_t first = 0;
  };

  void SetUp() override {
    PoolOnSimulatedDisk::SetUp();
    device_ = wait(pool_->create("vm1", writes * block_size, {}))->id;
    ASSERT_TRUE(wait(pool_->sync()));
    for (size_t i = 0; i < writes; ++i) {
      ASSERT_TRUE(wait(pool_->write(device_, i * block_size, content(i))));
      ASSERT_TRUE(wait(pool_->flush(device_)));
    }
    find_records();
    pool_.reset();
    medium_.power_cut(executor_->random());
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
  }
  std::vector<std::byte> content(size_t i) { return pattern(block_size, static_cast<uint8_t>(i)); }

  // Those of the writes, in order.
  void find_records() {
    Buffer block(block_size);
    for (uint64_t at = 0; at < pool_bytes; at += block_size) {
      medium_.read(at, block.span());
      if (std::memcmp(block.data(), "LAMINARC", 8) != 0) continue;
      records_.push_back({at, little_endian<le32>(block, 20), little_endian<le32>(block, 24),
                          little_endian<le64>(block, 128)});
    }
    std::ranges::sort(records_, {}, &Record::first);
    ASSERT_GE(records_.size(), writes);
    records_.erase(records_.begin(), records_.end() - writes);
    ASSERT_GE(records_.back().generation, records_.front().generation + 7);
  }

  // Whether the pool opens without these records.
  Result<std::unique_ptr<Pool>> open_without(SimMedium& medium, std::span<const Record> lost) {
    const std::vector<std::byte> nothing(block_size);
    for (const Record& record : lost) medium.damage(record.at, nothing);
    return wait(Pool::open(blobs_on(medium, *executor_, false), {}));
  }

  Buffer header_of(const Record& record) const {
    Buffer header(block_size);
    medium_.read(record.at - uint64_t{record.block} * block_size, header.span());
    return header;
  }
  uint32_t segment_blocks(const Record& record) const {
    return little_endian<le32>(header_of(record), 56);
  }
  bool is_sealed(const Record& record) const {
    return header_of(record).data()[71] == std::byte{2};
  }
  void expect_all_written() {
    for (size_t i = 0; i < writes; ++i) expect_content(device_, i * block_size, content(i));
  }

  static Task<Result<>> asking_to_scrub(Pool& pool) { co_return pool.ask_scrub(); }
  static Task<void> pause(uint64_t ns) { co_await Sleep{ns}; }

  DeviceId device_ = DeviceId::none;
  std::vector<Record> records_;
};

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
    records_.clear();
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
  records_.clear();
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
    ASSERT_TRUE(wait(asking_to_scrub(*pool_)));
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
