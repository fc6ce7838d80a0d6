// SPDX-License-Identifier: Apache-2.0
// What is packed is what is unpacked, for everything in blobs/.
#include <gtest/gtest.h>

#include <random>

#include "blobs/varint.h"
#include "formats_samples.h"

namespace lamina {
namespace {

TEST(Varint, EveryLengthComesBackAndHasTheSizeThatIsToldBefore) {
  for (int bits = 0; bits <= 64; ++bits) {
    for (const int64_t step : {-1, 0, 1}) {
      const uint64_t power = bits == 64 ? 0 : uint64_t{1} << bits;
      const uint64_t value = power + static_cast<uint64_t>(step);
      std::vector<std::byte> bytes;
      put_varint(bytes, value);
      EXPECT_EQ(bytes.size(), varint_size(value)) << value;
      std::span<const std::byte> in = bytes;
      EXPECT_EQ(get_varint(in), value);
      EXPECT_TRUE(in.empty());
    }
  }
}

TEST(Varint, SignedValuesNearZeroAreSmall) {
  EXPECT_EQ(zigzag(0), 0u);
  EXPECT_EQ(zigzag(-1), 1u);
  EXPECT_EQ(zigzag(1), 2u);
  for (const int64_t value : {int64_t{0}, int64_t{-5}, INT64_MAX, INT64_MIN})
    EXPECT_EQ(unzigzag(zigzag(value)), value);
}

TEST(Entry, EveryKindComesBack) {
  const auto entries = samples::all_kinds(1000, 11);
  std::vector<std::byte> bytes;
  for (const Entry& entry : entries) {
    const size_t before = bytes.size();
    pack_entry(entry, 990, bytes);
    EXPECT_EQ(bytes.size() - before, packed_entry_size(entry, 990));
  }
  std::span<const std::byte> in = bytes;
  for (const Entry& entry : entries) {
    const auto unpacked = unpack_entry(in, 990);
    ASSERT_TRUE(unpacked) << unpacked.error().message;
    EXPECT_EQ(*unpacked, entry) << static_cast<int>(raw(entry.kind));
  }
  EXPECT_TRUE(in.empty());
}

TEST(Entry, ASmallRandomWriteTakesSomeTenBytes) {
  std::mt19937_64 random(1);
  size_t total = 0;
  constexpr size_t count = 10000;
  for (size_t i = 0; i < count; ++i) {
    const uint64_t begin = random() % (100 * gib / block_size);
    total += packed_entry_size(
        samples::write(1'000'000'000 + i % 140, 300, begin, 1, static_cast<uint32_t>(i % 2000) + 4),
        1'000'000'000);
  }
  EXPECT_LE(static_cast<double>(total) / count, 11.5);
}

TEST(Record, ComesBackWithThePreviousOne) {
  const RecordHeader header = samples::record();
  Buffer block(block_size);
  const uint64_t checksum = pack_record(header, samples::secret(), samples::segment.blob,
                                        samples::segment.index, block.span());
  const auto record =
      unpack_record(block.span(), samples::secret(), samples::segment, samples::record_block);
  ASSERT_TRUE(record) << record.error().message;
  EXPECT_EQ(record->header, header);
  EXPECT_EQ(record->checksum, checksum);
  EXPECT_EQ(record->header.payload_blocks(), 3u);
  EXPECT_EQ(record->header.last(), 1019u);
}

TEST(Record, TheFirstOfAnEpochCarriesTheCut) {
  const RecordHeader header = samples::first_record_of_an_epoch();
  Buffer block(block_size);
  pack_record(header, samples::secret(), samples::segment.blob, samples::segment.index,
              block.span());
  const auto record =
      unpack_record(block.span(), samples::secret(), samples::segment, samples::record_block);
  ASSERT_TRUE(record) << record.error().message;
  EXPECT_EQ(record->header, header);
}

// What fills a body to the limit with 4 KiB writes.
RecordBody full_body(Sequence first, uint32_t at_block) {
  RecordBody body;
  body.first = first;
  size_t packed = 0;
  while (true) {
    const auto n = static_cast<uint32_t>(body.entries.size());
    const Entry entry = samples::write(first + n, 300, 26'000'000 - 1000 * n, 1, at_block + 1 + n);
    const size_t size = packed_entry_size(entry, first);
    if (record_body_bytes(packed + size, n + 1) > record_body_limit) return body;
    packed += size;
    body.entries.push_back(entry);
    body.checksums.push_back(n * 7919);
  }
}

TEST(Record, TwoFullBodiesFitOneHeader) {
  RecordHeader header = samples::record();
  header.previous_at = {samples::segment.generation, 10};
  header.previous = full_body(1000, 10);
  header.at.block = 11 + static_cast<uint32_t>(header.previous.checksums.size());
  header.body = full_body(header.previous.first + header.previous.entries.size(), header.at.block);
  EXPECT_GT(header.body.entries.size(), 120u);
  Buffer block(block_size);
  pack_record(header, samples::secret(), samples::segment.blob, samples::segment.index,
              block.span());
  const auto record =
      unpack_record(block.span(), samples::secret(), samples::segment, header.at.block);
  ASSERT_TRUE(record) << record.error().message;
  EXPECT_EQ(record->header, header);
}

TEST(SegmentHeader, ComesBackInEveryStateAndClass) {
  for (const auto kind :
       {SegmentClass::log, SegmentClass::nodes, SegmentClass::moved, SegmentClass::headers}) {
    for (const auto state : {SegmentState::open, SegmentState::sealed, SegmentState::retired}) {
      SegmentHeader header = samples::segment_header();
      header.kind = kind;
      header.state = state;
      if (state == SegmentState::open) header.used_end = 0;
      Buffer block(block_size);
      pack_segment_header(header, block.span());
      const auto unpacked = unpack_segment_header(block.span());
      ASSERT_TRUE(unpacked) << unpacked.error().message;
      EXPECT_EQ(*unpacked, header);
    }
  }
}

TEST(SegmentHeader, PayloadBeginsBehindTheChecksumsAndTheFrontSummary) {
  EXPECT_EQ(array_blocks(SegmentClass::log, 2048), 2u);
  EXPECT_EQ(array_blocks(SegmentClass::moved, 2049), 3u);
  EXPECT_EQ(array_blocks(SegmentClass::log, 64), 1u);
  EXPECT_EQ(array_blocks(SegmentClass::nodes, 2048), 0u);
  EXPECT_EQ(payload_begin(SegmentClass::log, 2048, 0), 3u);
  EXPECT_EQ(payload_begin(SegmentClass::moved, 2048, 5), 8u);
  EXPECT_EQ(payload_begin(SegmentClass::nodes, 2048, 2), 3u);
}

class SummaryAtBothEnds : public testing::TestWithParam<bool> {};

TEST_P(SummaryAtBothEnds, ComesBackInEveryLength) {
  const bool back = GetParam();
  for (const uint32_t count : {0u, 1u, 100u, 450u, 500u, 2000u, 10000u}) {
    const Summary summary = samples::summary(count);
    size_t bytes = 0;
    for (const Entry& entry : summary.entries) bytes += packed_entry_size(entry, summary.smallest);
    const uint32_t blocks = summary_blocks(bytes);
    Buffer buffer(size_t{blocks} * block_size);
    const MetadataPlace place{BlobId{1}, 7, Generation{42}, 1900};
    pack_summary(summary, samples::secret(), place, back, buffer.span());
    MetadataPlace header_place = place;
    if (back) header_place.block += blocks - 1;
    const auto header = buffer.blocks(back ? blocks - 1 : 0, 1);
    const auto length = back ? back_summary_blocks(header, samples::secret(), header_place)
                             : front_summary_blocks(header, samples::secret(), header_place);
    ASSERT_TRUE(length) << length.error().message;
    EXPECT_EQ(*length, blocks);
    const auto unpacked = unpack_summary(buffer.span(), samples::secret(), place, back);
    ASSERT_TRUE(unpacked) << count << ": " << unpacked.error().message;
    EXPECT_EQ(*unpacked, summary);
  }
}

TEST_P(SummaryAtBothEnds, MayBeGivenMoreBlocksThanItNeeds) {
  const Summary summary = samples::summary(10);
  Buffer buffer(3 * block_size);
  const MetadataPlace place{BlobId{1}, 7, Generation{42}, 1900};
  pack_summary(summary, samples::secret(), place, GetParam(), buffer.span());
  const auto unpacked = unpack_summary(buffer.span(), samples::secret(), place, GetParam());
  ASSERT_TRUE(unpacked) << unpacked.error().message;
  EXPECT_EQ(*unpacked, summary);
}

INSTANTIATE_TEST_SUITE_P(Ends, SummaryAtBothEnds, testing::Bool(),
                         [](const auto& param) { return param.param ? "Back" : "Front"; });

TEST(Superblock, ComesBack) {
  const Superblock superblock = samples::superblock();
  Buffer block(block_size);
  pack_superblock(superblock, block.span());
  const auto unpacked = unpack_superblock(block.span());
  ASSERT_TRUE(unpacked) << unpacked.error().message;
  EXPECT_EQ(*unpacked, superblock);
  EXPECT_FALSE(needs_read_only(*unpacked));
}

TEST(Slot, ComesBack) {
  const Slot slot = samples::slot();
  Buffer block(block_size);
  pack_slot(slot, samples::secret(), BlobId{1}, 17, block.span());
  const auto unpacked = unpack_slot(block.span(), samples::secret(), BlobId{1}, 17);
  ASSERT_TRUE(unpacked) << unpacked.error().message;
  EXPECT_EQ(*unpacked, slot);
}

TEST(Slot, ComesBackWhenEveryListIsFull) {
  Slot slot = samples::slot();
  for (auto& table : slot.tables) table.assign(slot_max_extents, table[0]);
  slot.members.assign(slot_max_members, slot.members[1]);
  slot.recent_cuts.assign(slot_max_cuts, {9, 1000});
  slot.clean = true;
  Buffer block(block_size);
  pack_slot(slot, samples::secret(), BlobId{1}, 17, block.span());
  const auto unpacked = unpack_slot(block.span(), samples::secret(), BlobId{1}, 17);
  ASSERT_TRUE(unpacked) << unpacked.error().message;
  EXPECT_EQ(*unpacked, slot);
}

}  // namespace
}  // namespace lamina
