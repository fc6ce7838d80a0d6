// SPDX-License-Identifier: Apache-2.0
// The header block of a summary as it lies on the medium: its room for entries is filled first,
// the other blocks of the run, in ascending order, hold the rest and nothing else. See FORMAT.md.
#pragma once

#include <cstddef>

#include "blobs/block_format.h"
#include "blobs/summary.h"

namespace lamina {

inline constexpr Magic summary_magic = {'L', 'A', 'M', 'I', 'N', 'A', 'S', 'M'};

struct SummaryFormat {
  Magic magic;
  le32 version;
  le32 epoch;
  le32 index;  // of the segment in its blob
  le32 generation;
  le32 block;  // of this header in the segment
  le16 blob;
  unsigned char back;
  unsigned char reserved0;
  le64 smallest;
  le64 largest;
  le64 checksums_sum;
  le64 rest_sum;  // keyed checksum of the other blocks of the run, 0 where there are none
  le32 blocks;    // of the run, this one included
  le32 entries;
  le32 entry_bytes;
  le32 second_array;  // block where the second copy of the checksums begins; 0: none
  std::array<unsigned char, 4008> room;
  le64 checksum;
};
static_assert(is_block_format<SummaryFormat>);
static_assert(offsetof(SummaryFormat, version) == 8);
static_assert(offsetof(SummaryFormat, epoch) == 12);
static_assert(offsetof(SummaryFormat, index) == 16);
static_assert(offsetof(SummaryFormat, generation) == 20);
static_assert(offsetof(SummaryFormat, block) == 24);
static_assert(offsetof(SummaryFormat, blob) == 28);
static_assert(offsetof(SummaryFormat, back) == 30);
static_assert(offsetof(SummaryFormat, reserved0) == 31);
static_assert(offsetof(SummaryFormat, smallest) == 32);
static_assert(offsetof(SummaryFormat, largest) == 40);
static_assert(offsetof(SummaryFormat, checksums_sum) == 48);
static_assert(offsetof(SummaryFormat, rest_sum) == 56);
static_assert(offsetof(SummaryFormat, blocks) == 64);
static_assert(offsetof(SummaryFormat, entries) == 68);
static_assert(offsetof(SummaryFormat, entry_bytes) == 72);
static_assert(offsetof(SummaryFormat, second_array) == 76);
static_assert(offsetof(SummaryFormat, room) == 80);
static_assert(offsetof(SummaryFormat, checksum) == block_checksum_offset);

}  // namespace lamina
