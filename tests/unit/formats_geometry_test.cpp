// SPDX-License-Identifier: Apache-2.0
// Where things lie on a disk of any size, before and after it grows.
#include <gtest/gtest.h>

#include <algorithm>

#include "blobs/segment_format.h"
#include "formats_samples.h"

namespace lamina {
namespace {

Superblock of(const Blob::Geometry& geometry) {
  Superblock superblock = samples::superblock();
  geometry.write_to(superblock);
  return superblock;
}

struct Area {
  uint64_t begin, end;
};

// Everything that lies on a blob, in order, must not overlap, and must end with the disk.
void expect_disjoint(const Superblock& superblock) {
  const Blob blob(nullptr, superblock);
  std::vector<Area> areas = {{0, edge_bytes},
                             {superblock.middle, superblock.middle + edge_bytes},
                             {superblock.size - edge_bytes, superblock.size}};
  for (uint32_t i = 0; i < blob.segment_count(); ++i) {
    const uint64_t begin = blob.offset(i, 0);
    areas.push_back({begin, begin + blob.segment_bytes()});
    ASSERT_EQ(begin % superblock.erase_bytes, 0u);
  }
  std::sort(areas.begin(), areas.end(), [](Area a, Area b) { return a.begin < b.begin; });
  for (size_t i = 1; i < areas.size(); ++i) ASSERT_LE(areas[i - 1].end, areas[i].begin) << i;
  ASSERT_EQ(areas.back().end, superblock.size);
  const auto copies = blob.superblock_offsets();
  EXPECT_EQ(copies[0], 0u);
  EXPECT_EQ(copies[1], 32 * kib);
  EXPECT_EQ(copies[2], superblock.middle);
  EXPECT_EQ(copies[3], superblock.size - block_size);
}

TEST(Geometry, NothingOverlapsWhateverTheSizeAndTheEraseSize) {
  for (const uint64_t size : {64 * mib, 64 * mib + 4096 * 17, 65 * mib, 100 * mib, 127 * mib, gib,
                              5 * gib + 12345 * block_size, 64 * gib}) {
    for (const uint64_t erase :
         {uint64_t{0}, 4 * kib, 64 * kib, 192 * kib, mib, 3 * mib, 4 * mib, 6 * mib, 64 * mib}) {
      const auto geometry = Blob::plan(size, 0, erase);
      ASSERT_TRUE(geometry) << size << " " << erase;
      SCOPED_TRACE(std::to_string(size) + " erase " + std::to_string(erase));
      ASSERT_NO_FATAL_FAILURE(expect_disjoint(of(*geometry)));
    }
  }
}

TEST(Geometry, SegmentsShrinkUntilThereAre128) {
  for (uint64_t size = 64 * mib; size <= 2 * gib; size += 7 * mib) {
    const auto geometry = Blob::plan(size, 0, 0);
    ASSERT_TRUE(geometry);
    EXPECT_GE(geometry->segment_count, 128u) << size;
    EXPECT_GE(geometry->segment_blocks, 64u);
    EXPECT_LE(geometry->segment_blocks, 2048u);
    EXPECT_EQ(geometry->segment_blocks & (geometry->segment_blocks - 1), 0u);
    if (geometry->segment_blocks < 2048) {  // twice the size would have been too large
      EXPECT_LT(geometry->segment_count, 257u) << size;
    }
  }
  EXPECT_EQ(Blob::plan(64 * mib, 0, 0)->segment_blocks, 64u);
  EXPECT_EQ(Blob::plan(16 * gib, 0, 0)->segment_blocks, 2048u);
}

TEST(Geometry, SegmentsGrowUntilThereAreAtMost2To18) {
  EXPECT_EQ(Blob::plan(tib, 0, 0)->segment_blocks, 2048u);
  for (const uint64_t size : {2 * tib, 10 * tib, 100 * tib, pib}) {
    const auto geometry = Blob::plan(size, 0, 0);
    ASSERT_TRUE(geometry) << size;
    EXPECT_LE(geometry->segment_count, 1u << 18);
    EXPECT_GT(geometry->segment_count, 1u << 16);
  }
  const auto beyond = Blob::plan(pib + block_size, 0, 0);
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().code, Code::too_big);
}

TEST(Geometry, SegmentsAreWholeEraseUnitsWhereThereIsRoom) {
  const auto odd = Blob::plan(100 * gib, 0, 3 * mib);
  EXPECT_EQ(odd->segment_blocks, 9 * mib / block_size);
  EXPECT_EQ(odd->erase_bytes, 3 * mib);
  // One unit, where there are enough of them, rather than none that is whole.
  const auto small = Blob::plan(512 * mib, 0, 3 * mib);
  EXPECT_EQ(small->segment_blocks, 3 * mib / block_size);
  EXPECT_EQ(small->erase_bytes, 3 * mib);
  EXPECT_EQ(Blob::plan(64 * mib, 0, 512 * kib)->segment_blocks, 64u);
  const auto large = Blob::plan(100 * gib, 0, 64 * mib);
  EXPECT_EQ(large->segment_blocks, 64 * mib / block_size);
  EXPECT_EQ(large->erase_bytes, 64 * mib);
  const auto no_room = Blob::plan(gib, 0, 64 * mib);
  EXPECT_GE(no_room->segment_count, 128u);
  EXPECT_EQ(no_room->erase_bytes, block_size);
}

TEST(Geometry, AbsurdEraseSizesAreIgnored) {
  for (const uint64_t erase : {gib, 65 * mib, uint64_t{512}, 6 * kib, UINT64_MAX}) {
    const auto geometry = Blob::plan(16 * gib, 0, erase);
    ASSERT_TRUE(geometry);
    EXPECT_EQ(geometry->erase_bytes, block_size) << erase;
    EXPECT_EQ(geometry->segment_blocks, 2048u) << erase;
  }
}

TEST(Geometry, UnderSixtyFourMebibytesThereIsNoRoom) {
  const auto geometry = Blob::plan(64 * mib - 1, 0, 0);
  ASSERT_FALSE(geometry);
  EXPECT_EQ(geometry.error().code, Code::no_space);
  EXPECT_NE(geometry.error().message.find("64 MiB"), std::string::npos);
}

TEST(Geometry, ASegmentSizeThatIsAskedForIsTakenOrRefused) {
  EXPECT_EQ(Blob::plan(gib, mib, 0)->segment_blocks, 256u);
  EXPECT_EQ(Blob::plan(gib, 3 * mib, 0)->segment_blocks, 768u);
  for (const uint64_t bytes : {uint64_t{4096}, 256 * kib - 4096, mib + 1, 5 * gib, 512 * mib}) {
    const auto geometry = Blob::plan(gib, bytes, 0);
    ASSERT_FALSE(geometry) << bytes;
    EXPECT_EQ(geometry.error().code, Code::invalid);
  }
}

TEST(Geometry, AGrownBlobKeepsItsMiddleAndEveryOldSegment) {
  const Superblock before = of(*Blob::plan(gib, 0, mib));
  const auto after = Blob::grown(before, 3 * gib + 4096 * 3 + 17);
  ASSERT_TRUE(after);
  EXPECT_EQ(after->middle, before.middle);
  EXPECT_EQ(after->size, 3 * gib + 4096 * 3);
  EXPECT_GT(after->segment_count, 2 * before.segment_count);
  ASSERT_NO_FATAL_FAILURE(expect_disjoint(*after));
  const Blob small(nullptr, before), large(nullptr, *after);
  for (uint32_t i = 0; i < small.segment_count(); ++i)
    ASSERT_EQ(small.offset(i, 1), large.offset(i, 1));
  EXPECT_EQ(small.slot_offsets(9)[0], large.slot_offsets(9)[0]);
}

TEST(Geometry, ABlobDoesNotShrink) {
  const auto smaller = Blob::grown(of(*Blob::plan(gib, 0, 0)), gib - block_size);
  ASSERT_FALSE(smaller);
  EXPECT_EQ(smaller.error().code, Code::invalid);
}

TEST(Geometry, SlotsOfARingLieApartInTheFirstAndTheLastMebibyte) {
  const Superblock superblock = samples::superblock();
  const Blob blob(nullptr, superblock);
  std::vector<uint64_t> seen;
  for (CheckpointNumber number = 1; number <= slot_ring_length; ++number) {
    const auto [front, back] = blob.slot_offsets(number);
    EXPECT_GE(front, 64 * kib);
    EXPECT_LE(front + block_size, edge_bytes);
    EXPECT_GE(back, superblock.size - edge_bytes);
    EXPECT_LT(back + block_size, superblock.size);
    seen.push_back(front);
    EXPECT_EQ(blob.slot_offsets(number + slot_ring_length)[0], front);
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(std::unique(seen.begin(), seen.end()), seen.end());
}

TEST(GeometryDeathTest, ABlockOutsideOfTheBlobIsABug) {
  const Blob blob(nullptr, samples::superblock());
  EXPECT_DEATH((void)blob.offset(blob.segment_count(), 0), "assertion");
  EXPECT_DEATH((void)blob.offset(0, blob.segment_blocks()), "assertion");
}

}  // namespace
}  // namespace lamina
