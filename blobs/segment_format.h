// SPDX-License-Identifier: Apache-2.0
// The header of a segment as it lies on the medium, under a plain checksum: it outlives the
// superblocks and tells a scan the secret that all other checksums are keyed with (B7). It is
// believed only at block 0 of a segment, where no payload ever lies. See FORMAT.md.
#pragma once

#include <cstddef>

#include "blobs/block_format.h"
#include "blobs/segment.h"

namespace lamina {

inline constexpr Magic segment_magic = {'L', 'A', 'M', 'I', 'N', 'A', 'S', 'G'};

// Segments are of 256 KiB to 4 GiB; a blob has at most 2^18 when it is made, and may grow to four
// times that.
inline constexpr uint32_t min_segment_blocks = 64;
inline constexpr uint32_t max_segment_blocks = 1u << 20;
inline constexpr uint32_t max_formatted_segments = 1u << 18;
inline constexpr uint32_t max_segments = 1u << 20;

struct SegmentHeaderFormat {
  Magic magic;
  le32 version;
  le32 index;
  Uuid pool;
  Secret secret;
  le32 generation;
  le32 epoch;
  le32 blocks;
  le32 front_blocks;
  le32 used_end;
  le16 blob;
  unsigned char kind;
  unsigned char state;
  le64 wall_ns;
  le32 addressed;
  std::array<unsigned char, 4004> reserved;
  le64 checksum;
};
static_assert(is_block_format<SegmentHeaderFormat>);
static_assert(offsetof(SegmentHeaderFormat, version) == 8);
static_assert(offsetof(SegmentHeaderFormat, index) == 12);
static_assert(offsetof(SegmentHeaderFormat, pool) == 16);
static_assert(offsetof(SegmentHeaderFormat, secret) == 32);
static_assert(offsetof(SegmentHeaderFormat, generation) == 48);
static_assert(offsetof(SegmentHeaderFormat, epoch) == 52);
static_assert(offsetof(SegmentHeaderFormat, blocks) == 56);
static_assert(offsetof(SegmentHeaderFormat, front_blocks) == 60);
static_assert(offsetof(SegmentHeaderFormat, used_end) == 64);
static_assert(offsetof(SegmentHeaderFormat, blob) == 68);
static_assert(offsetof(SegmentHeaderFormat, kind) == 70);
static_assert(offsetof(SegmentHeaderFormat, state) == 71);
static_assert(offsetof(SegmentHeaderFormat, wall_ns) == 72);
static_assert(offsetof(SegmentHeaderFormat, addressed) == 80);
static_assert(offsetof(SegmentHeaderFormat, reserved) == 84);
static_assert(offsetof(SegmentHeaderFormat, checksum) == block_checksum_offset);

}  // namespace lamina
