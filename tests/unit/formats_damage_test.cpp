// SPDX-License-Identifier: Apache-2.0
// What is damaged, forged, misplaced or out of range is refused, and nothing crashes on it.
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "blobs/describe.h"
#include "blobs/record_format.h"
#include "blobs/segment_format.h"
#include "blobs/log_mark_format.h"
#include "blobs/slot_format.h"
#include "blobs/summary_format.h"
#include "blobs/superblock_format.h"
#include "formats_structures.h"

namespace lamina {
namespace {

using namespace samples;

class OfEveryKind : public testing::TestWithParam<Structure> {};
INSTANTIATE_TEST_SUITE_P(Metadata, OfEveryKind,
                         testing::Values(record_structure(), segment_structure(),
                                         superblock_structure(), slot_structure(),
                                         log_mark_structure(),
                                         summary_structure(false), summary_structure(true)),
                         [](const auto& param) { return param.param.name; });

TEST_P(OfEveryKind, EverySingleFlippedBitIsDetected) {
  auto bytes = GetParam().make();
  ASSERT_TRUE(GetParam().read(bytes));
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const auto mask = static_cast<std::byte>(1 << bit % 8);
    bytes[bit / 8] ^= mask;
    ASSERT_FALSE(GetParam().read(bytes)) << "bit " << bit;
    bytes[bit / 8] ^= mask;
  }
}

TEST_P(OfEveryKind, TornAt512BytesIsDetected) {
  const auto good = GetParam().make();
  for (size_t sector = 0; sector < good.size() / 512; ++sector) {
    auto torn = good;
    const auto piece = std::span(torn).subspan(sector * 512, 512);
    std::fill(piece.begin(), piece.end(), std::byte{});
    if (torn == good) continue;  // it was zero before
    ASSERT_FALSE(GetParam().read(torn)) << sector;
  }
}

TEST_P(OfEveryKind, TruncatedInputIsRefused) {
  const auto good = GetParam().make();
  for (size_t size = 0; size < good.size(); size += size < 64 ? 1 : 61)
    ASSERT_FALSE(GetParam().read(std::span(good).first(size))) << size;
}

// Whether or not a checksum fits, reading and describing must end without a crash.
void read_all(const Structure& structure, std::span<const std::byte> bytes) {
  (void)structure.read(bytes);
  const Secret secret = samples::secret();
  (void)describe_block(bytes.first(block_size), &secret);
  (void)describe_block(bytes.last(block_size), nullptr);
}

// Summaries hold a thousand entries; fewer rounds of them take as long as of the others.
int rounds_for(std::span<const std::byte> bytes, int rounds) {
  return bytes.size() > block_size ? rounds / 20 : rounds;
}

TEST_P(OfEveryKind, RandomBytesNeverCrashIt) {
  std::mt19937_64 random(20240601);
  const auto good = GetParam().make();
  for (int round = 0; round < rounds_for(good, 2000); ++round) {
    auto bytes = good;
    const size_t begin = random() % bytes.size();
    const size_t end = begin + 1 + random() % (bytes.size() - begin);
    for (size_t i = begin; i < end; ++i) bytes[i] = static_cast<std::byte>(random());
    read_all(GetParam(), bytes);
  }
}

TEST_P(OfEveryKind, RandomBytesUnderAGoodChecksumNeverCrashIt) {
  std::mt19937_64 random(20240602);
  const auto good = GetParam().make();
  for (int round = 0; round < rounds_for(good, 8000); ++round) {
    auto bytes = good;
    const size_t begin = round % 2 == 0 ? random() % 256 : random() % bytes.size();
    const size_t count = 1 + random() % (round % 3 == 0 ? 400 : 8);
    for (size_t i = begin; i < std::min(begin + count, bytes.size()); ++i)
      bytes[i] = static_cast<std::byte>(random() % 4 == 0 ? 0xff : random());
    GetParam().stamp(bytes);
    read_all(GetParam(), bytes);
  }
}

// Every byte of a reserved field, found by setting it, must be refused although the checksum fits.
template <class Format>
void expect_zero(const Structure& structure, size_t offset, size_t size, bool header_last) {
  const auto good = structure.make();
  for (size_t i = 0; i < size; ++i) {
    auto bytes = good;
    bytes[(header_last ? bytes.size() - block_size : 0) + offset + i] = std::byte{1};
    structure.stamp(bytes);
    ASSERT_FALSE(structure.read(bytes)) << offset + i;
  }
}
#define EXPECT_ZERO(structure, Format, field, header_last) \
  expect_zero<Format>(structure, offsetof(Format, field), sizeof(Format::field), header_last)

TEST(Reserved, BytesThatAreNotZeroAreRefused) {
  EXPECT_ZERO(segment_structure(), SegmentHeaderFormat, reserved, false);
  EXPECT_ZERO(superblock_structure(), SuperblockFormat, reserved0, false);
  EXPECT_ZERO(superblock_structure(), SuperblockFormat, reserved1, false);
  EXPECT_ZERO(slot_structure(), SlotFormat, reserved0, false);
  EXPECT_ZERO(slot_structure(), SlotFormat, reserved1, false);
  EXPECT_ZERO(record_structure(), RecordFormat, reserved, false);
  EXPECT_ZERO(summary_structure(false), SummaryFormat, reserved0, false);
}

// A field that is given a value, under a checksum that fits.
template <class Format, class Change>
Result<> read_changed(const Structure& structure, Change change) {
  auto bytes = structure.make();
  auto format = load_block<Format>(std::span(bytes).first(block_size));
  change(format);
  store_block(format, std::span(bytes).first(block_size));
  structure.stamp(bytes);
  return structure.read(bytes);
}
#define EXPECT_REFUSED(structure, Format, change) \
  EXPECT_FALSE((read_changed<Format>(structure, [&](Format& f) { change; }))) << #change

TEST(SegmentHeader, ValuesOutOfRangeAreRefusedUnderAGoodChecksum) {
  const Structure s = segment_structure();
  EXPECT_REFUSED(s, SegmentHeaderFormat, f.kind = 0);
  EXPECT_REFUSED(s, SegmentHeaderFormat, f.kind = 6);
  EXPECT_REFUSED(s, SegmentHeaderFormat, f.addressed.store(1));  // not of frames
  EXPECT_REFUSED(s, SegmentHeaderFormat, f.state = 0);
  EXPECT_REFUSED(s, SegmentHeaderFormat, f.state = 4);
  EXPECT_REFUSED(s, SegmentHeaderFormat, f.state = 1);  // open, but used
  EXPECT_REFUSED(s, SegmentHeaderFormat, f.generation.store(0));
  EXPECT_REFUSED(s, SegmentHeaderFormat, f.blob.store(0xffff));
  EXPECT_REFUSED(s, SegmentHeaderFormat, f.blocks.store(63));
  EXPECT_REFUSED(s, SegmentHeaderFormat, f.blocks.store(1999));  // less than is used
  EXPECT_REFUSED(s, SegmentHeaderFormat, f.used_end.store(3));   // before the payload
  EXPECT_REFUSED(s, SegmentHeaderFormat, f.front_blocks.store(0xfffffffe));
  EXPECT_REFUSED(s, SegmentHeaderFormat, f.version.store(2));
}

TEST(LogMark, ValuesOutOfRangeAreRefusedUnderAGoodChecksum) {
  const Structure s = log_mark_structure();
  EXPECT_REFUSED(s, LogMarkFormat, f.durable_through.store(0));
  EXPECT_REFUSED(s, LogMarkFormat, f.durable_through.store(889));  // repeats what came later
  EXPECT_REFUSED(s, LogMarkFormat, f.entries.store(0));
  EXPECT_REFUSED(s, LogMarkFormat, f.entries.store(1));
  EXPECT_REFUSED(s, LogMarkFormat, f.entries.store(3));
  EXPECT_REFUSED(s, LogMarkFormat, f.entry_bytes.store(4039));
  EXPECT_REFUSED(s, LogMarkFormat, f.first.store(0));
  EXPECT_REFUSED(s, LogMarkFormat, f.packed.back() = 1);
  EXPECT_REFUSED(s, LogMarkFormat, f.packed[0] = 2);  // a zero, which data says
}

TEST(Record, ValuesOutOfRangeAreRefusedUnderAGoodChecksum) {
  const Structure s = record_structure();
  EXPECT_REFUSED(s, RecordFormat, f.own.entries.store(0));
  EXPECT_REFUSED(s, RecordFormat, f.own.entries.store(17));
  EXPECT_REFUSED(s, RecordFormat, f.own.entries.store(21));
  EXPECT_REFUSED(s, RecordFormat, f.own.entry_bytes.store(0xffff));
  EXPECT_REFUSED(s, RecordFormat, f.own.payload_blocks.store(0xffff));
  EXPECT_REFUSED(s, RecordFormat, f.own.payload_blocks.store(2));
  EXPECT_REFUSED(s, RecordFormat, f.own.first.store(0));
  EXPECT_REFUSED(s, RecordFormat, f.own.first.store(UINT64_MAX));
  EXPECT_REFUSED(s, RecordFormat, f.own.first.store(990));  // durable before it was written
  EXPECT_REFUSED(s, RecordFormat, f.own.reserved.store(1));
  EXPECT_REFUSED(s, RecordFormat, f.previous.entries.store(0));
  EXPECT_REFUSED(s, RecordFormat, f.previous_generation.store(0));
  EXPECT_REFUSED(s, RecordFormat, f.previous_block.store(9));  // its payload would lie before it
  EXPECT_REFUSED(s, RecordFormat, f.starts_epoch = 2);
  EXPECT_REFUSED(s, RecordFormat, f.cut_sequence.store(5));  // cuts, but starts no epoch
  EXPECT_REFUSED(s, RecordFormat, f.oldest_backed.store(18));
  EXPECT_REFUSED(s, RecordFormat, f.next[0].blob.store(0xffff));
  EXPECT_REFUSED(s, RecordFormat, f.next[0].reserved.store(1));
  EXPECT_REFUSED(s, RecordFormat, f.block.store(11));
  EXPECT_REFUSED(s, RecordFormat, f.index.store(8));
  EXPECT_REFUSED(s, RecordFormat, f.bodies.back() = 1);
  // The first entry, behind three checksums: tag, number, map, begin (2 bytes), length, offset.
  constexpr size_t entry = 3 * sizeof(le32);
  EXPECT_REFUSED(s, RecordFormat, f.bodies[entry + 1] = 1);   // a number is left out
  EXPECT_REFUSED(s, RecordFormat, f.bodies[entry + 5] = 4);   // payload past the last block
  EXPECT_REFUSED(s, RecordFormat, f.bodies[entry + 6] = 10);  // payload where the header is
  EXPECT_REFUSED(s, RecordFormat, f.version.store(0));
}

TEST(Slot, ValuesOutOfRangeAreRefusedUnderAGoodChecksum) {
  const Structure s = slot_structure();
  EXPECT_REFUSED(s, SlotFormat, f.number.store(0));
  EXPECT_REFUSED(s, SlotFormat, f.number.store(15));  // older than the oldest backed
  EXPECT_REFUSED(s, SlotFormat, f.clean = 2);
  EXPECT_REFUSED(s, SlotFormat, f.extent_counts[0] = 49);
  EXPECT_REFUSED(s, SlotFormat, f.extent_counts[0] = 1);  // leaves something behind the list
  EXPECT_REFUSED(s, SlotFormat, f.extent_counts[0] = 3);  // an empty run
  EXPECT_REFUSED(s, SlotFormat, f.member_count = 33);
  EXPECT_REFUSED(s, SlotFormat, f.member_count = 1);
  EXPECT_REFUSED(s, SlotFormat, f.cut_count = 17);
  EXPECT_REFUSED(s, SlotFormat, f.cut_count = 1);
  EXPECT_REFUSED(s, SlotFormat, f.tables[0][0].block.store(0));
  EXPECT_REFUSED(s, SlotFormat, f.tables[0][0].blocks.store(0xffffffff));
  EXPECT_REFUSED(s, SlotFormat, f.tables[0][0].segment.generation.store(0));
  EXPECT_REFUSED(s, SlotFormat, f.tables_bytes.store(5 * block_size + 1));
  EXPECT_REFUSED(s, SlotFormat, f.members[0].kind = 9);
  EXPECT_REFUSED(s, SlotFormat, f.members[0].use = 3);
  EXPECT_REFUSED(s, SlotFormat, f.disk_block.store(18));
  EXPECT_REFUSED(s, SlotFormat, f.version.store(2));
}

TEST(Summary, ValuesOutOfRangeAreRefusedUnderAGoodChecksum) {
  const Structure s = summary_structure(false);
  EXPECT_REFUSED(s, SummaryFormat, f.entries.store(999));
  EXPECT_REFUSED(s, SummaryFormat, f.entries.store(1001));
  EXPECT_REFUSED(s, SummaryFormat, f.entry_bytes.store(0xffffffff));
  EXPECT_REFUSED(s, SummaryFormat, f.blocks.store(0));
  EXPECT_REFUSED(s, SummaryFormat, f.blocks.store(2));
  EXPECT_REFUSED(s, SummaryFormat, f.second_array.store(max_segment_blocks));
  EXPECT_REFUSED(s, SummaryFormat, f.largest.store(1498));
  EXPECT_REFUSED(s, SummaryFormat, f.back = 1);
  EXPECT_REFUSED(s, SummaryFormat, f.generation.store(41));
  EXPECT_REFUSED(s, SummaryFormat, f.version.store(2));
}

TEST(Superblock, ValuesOutOfRangeAreRefusedUnderAGoodChecksum) {
  const Structure s = superblock_structure();
  EXPECT_REFUSED(s, SuperblockFormat, f.kind = 0);
  EXPECT_REFUSED(s, SuperblockFormat, f.blob.store(0xffff));
  EXPECT_REFUSED(s, SuperblockFormat, f.segment_blocks.store(63));
  EXPECT_REFUSED(s, SuperblockFormat, f.segment_count.store(0));
  EXPECT_REFUSED(s, SuperblockFormat, f.segment_count.store(f.segment_count.load() + 1));
  EXPECT_REFUSED(s, SuperblockFormat, f.erase_bytes.store(0));
  EXPECT_REFUSED(s, SuperblockFormat, f.middle.store(f.middle.load() + 1));
  EXPECT_REFUSED(s, SuperblockFormat, f.middle.store(0));
  EXPECT_REFUSED(s, SuperblockFormat, f.middle.store(UINT64_MAX - 4095));
  EXPECT_REFUSED(s, SuperblockFormat, f.size.store(f.size.load() - 16 * mib));
  EXPECT_REFUSED(s, SuperblockFormat, f.size.store(UINT64_MAX - 4095));
  EXPECT_REFUSED(s, SuperblockFormat, f.pool_name.back() = 'x');
  EXPECT_REFUSED(s, SuperblockFormat, f.pool_name.fill('x'));
}

Result<Superblock> read_superblock(const std::function<void(SuperblockFormat&)>& change) {
  auto bytes = superblock_structure().make();
  auto format = load_block<SuperblockFormat>(bytes);
  change(format);
  store_block(format, bytes);
  stamp_plain(bytes);
  return unpack_superblock(bytes);
}

TEST(Superblock, ANewerFormatIsNamedAsThat) {
  const auto version = read_superblock([](auto& f) { f.version.store(7); });
  ASSERT_FALSE(version);
  EXPECT_EQ(version.error().code, Code::unsupported);
  EXPECT_NE(version.error().message.find("made by a newer lamina"), std::string::npos);
  const auto feature = read_superblock([](auto& f) { f.incompat.store(uint64_t{1} << 13); });
  ASSERT_FALSE(feature);
  EXPECT_EQ(feature.error().code, Code::unsupported);
  EXPECT_NE(feature.error().message.find("made by a newer lamina"), std::string::npos);
  EXPECT_NE(feature.error().message.find("bit) 13"), std::string::npos);
}

TEST(Superblock, AnUnknownFeatureThatOnlyForbidsWritingIsSaidAndRead) {
  const auto superblock = read_superblock([](auto& f) {
    f.ro_compat.store(2);
    f.reserved1[0] = 9;  // which such a feature may use
  });
  ASSERT_TRUE(superblock);
  EXPECT_TRUE(needs_read_only(*superblock));
  const auto harmless = read_superblock([](auto& f) { f.compat.store(2); });
  ASSERT_TRUE(harmless);
  EXPECT_FALSE(needs_read_only(*harmless));
}

TEST(Superblock, ABlockOfSomethingElseIsNotFoundRatherThanCorrupt) {
  const std::vector<std::byte> zeroes(block_size);
  EXPECT_EQ(unpack_superblock(zeroes).error().code, Code::not_found);
  EXPECT_EQ(unpack_superblock(slot_structure().make()).error().code, Code::not_found);
}

TEST(Forgery, ARecordOfAnotherPlaceGenerationSegmentBlobOrPoolIsRefused) {
  const auto block = record_structure().make();
  const auto read = [&](const SegmentName& segment, uint32_t at, const Secret& secret) {
    return unpack_record(block, secret, segment, at).has_value();
  };
  const Secret secret = samples::secret();
  Secret other = secret;
  other[15] ^= std::byte{1};
  const SegmentName here = samples::segment;
  EXPECT_TRUE(read(here, 10, secret));
  EXPECT_FALSE(read(here, 11, secret));
  EXPECT_FALSE(read({here.blob, here.index, Generation{43}}, 10, secret));
  EXPECT_FALSE(read({here.blob, 8, here.generation}, 10, secret));
  EXPECT_FALSE(read({BlobId{2}, here.index, here.generation}, 10, secret));
  EXPECT_FALSE(read(here, 10, other));
}

TEST(Forgery, ASlotOfAnotherPlaceOrBlobOrPoolIsRefused) {
  const auto block = slot_structure().make();
  Secret other = samples::secret();
  other[0] ^= std::byte{1};
  EXPECT_TRUE(unpack_slot(block, samples::secret(), BlobId{1}, 17));
  EXPECT_FALSE(unpack_slot(block, samples::secret(), BlobId{1}, 18));
  EXPECT_FALSE(unpack_slot(block, samples::secret(), BlobId{2}, 17));
  EXPECT_FALSE(unpack_slot(block, other, BlobId{1}, 17));
}

TEST(Forgery, ASummaryOfAnotherPlaceEndGenerationOrPoolIsRefused) {
  const auto blocks = summary_structure(true).make();
  Secret other = samples::secret();
  other[7] ^= std::byte{1};
  const Secret secret = samples::secret();
  const auto read = [&](MetadataPlace place, const Secret& key, bool back) {
    return unpack_summary(blocks, key, place, back).has_value();
  };
  MetadataPlace later = back_place, generation = back_place, segment = back_place;
  later.block -= 1;
  generation.generation = Generation{41};
  segment.segment = 8;
  EXPECT_TRUE(read(back_place, secret, true));
  EXPECT_FALSE(read(later, secret, true));
  EXPECT_FALSE(read(generation, secret, true));
  EXPECT_FALSE(read(segment, secret, true));
  EXPECT_FALSE(read(back_place, other, true));
  EXPECT_FALSE(read(back_place, secret, false));
}

TEST(Forgery, TheBlocksOfASummaryCannotBeExchanged) {
  auto blocks = summary_structure(false).make();
  std::swap_ranges(blocks.begin() + block_size, blocks.begin() + 2 * block_size,
                   blocks.begin() + 2 * block_size);
  EXPECT_FALSE(unpack_summary(blocks, samples::secret(), front_place, false));
}

TEST(Forgery, APayloadThatLooksLikeARecordIsNotOneWithoutTheSecret) {
  // A guest knows the format, the place and everything but the secret.
  Buffer block(block_size);
  const Secret guessed{};
  pack_record(samples::record(), guessed, BlobId{1}, 7, block.span());
  EXPECT_FALSE(unpack_record(block.span(), samples::secret(), samples::segment, 10));
}

}  // namespace
}  // namespace lamina
