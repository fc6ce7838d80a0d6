// SPDX-License-Identifier: Apache-2.0
// A checkpoint slot as it lies on the medium. See FORMAT.md.
#pragma once

#include <cstddef>

#include "blobs/block_format.h"
#include "blobs/record_format.h"
#include "blobs/slot.h"

namespace lamina {

inline constexpr Magic slot_magic = {'L', 'A', 'M', 'I', 'N', 'A', 'S', 'L'};

struct SlotExtentFormat {
  SegmentNameFormat segment;
  le32 block;
  le32 blocks;
};
static_assert(sizeof(SlotExtentFormat) == 20);
static_assert(std::has_unique_object_representations_v<SlotExtentFormat>);
static_assert(offsetof(SlotExtentFormat, block) == 12);
static_assert(offsetof(SlotExtentFormat, blocks) == 16);

struct SlotMemberFormat {
  Uuid uuid;
  le32 tier;
  le32 segment_count;
  le16 blob;
  unsigned char kind;
  unsigned char use;
};
static_assert(sizeof(SlotMemberFormat) == 28);
static_assert(std::has_unique_object_representations_v<SlotMemberFormat>);
static_assert(offsetof(SlotMemberFormat, tier) == 16);
static_assert(offsetof(SlotMemberFormat, segment_count) == 20);
static_assert(offsetof(SlotMemberFormat, blob) == 24);
static_assert(offsetof(SlotMemberFormat, kind) == 26);
static_assert(offsetof(SlotMemberFormat, use) == 27);

struct EpochCutFormat {
  le64 cut;
  le32 epoch;
};
static_assert(sizeof(EpochCutFormat) == 12);
static_assert(std::has_unique_object_representations_v<EpochCutFormat>);
static_assert(offsetof(EpochCutFormat, epoch) == 8);

using SlotTableFormat = std::array<SlotExtentFormat, slot_max_extents>;

// What an array does not use is zero.
struct SlotFormat {
  Magic magic;
  le32 version;
  le32 epoch;
  le64 number;
  le64 oldest_backed;
  le64 cut;
  SegmentNameFormat log_segment;
  le32 log_block;
  std::array<SegmentNameFormat, 4> log_next;
  le64 last_checksum;
  le64 durable_through;
  le64 reserved2;
  le64 wall_ns;
  le64 tables_bytes;
  le64 tables_checksum;
  le32 generation_mark;
  le32 disk_block;
  le16 blob;
  unsigned char clean;
  unsigned char member_count;
  unsigned char cut_count;
  std::array<unsigned char, 2> extent_counts;
  unsigned char reserved0;
  std::array<SlotTableFormat, 2> tables;
  std::array<SlotMemberFormat, slot_max_members> members;
  std::array<EpochCutFormat, slot_max_cuts> recent_cuts;
  std::array<std::array<char, slot_name_bytes>, slot_max_members> names;
  std::array<unsigned char, 16> reserved1;
  le64 checksum;
};
static_assert(is_block_format<SlotFormat>);
static_assert(slot_max_extents < 256 && slot_max_members < 256 && slot_max_cuts < 256);
static_assert(offsetof(SlotFormat, version) == 8);
static_assert(offsetof(SlotFormat, epoch) == 12);
static_assert(offsetof(SlotFormat, number) == 16);
static_assert(offsetof(SlotFormat, oldest_backed) == 24);
static_assert(offsetof(SlotFormat, cut) == 32);
static_assert(offsetof(SlotFormat, log_segment) == 40);
static_assert(offsetof(SlotFormat, log_block) == 52);
static_assert(offsetof(SlotFormat, log_next) == 56);
static_assert(offsetof(SlotFormat, last_checksum) == 104);
static_assert(offsetof(SlotFormat, durable_through) == 112);
static_assert(offsetof(SlotFormat, reserved2) == 120);
static_assert(offsetof(SlotFormat, wall_ns) == 128);
static_assert(offsetof(SlotFormat, tables_bytes) == 136);
static_assert(offsetof(SlotFormat, tables_checksum) == 144);
static_assert(offsetof(SlotFormat, generation_mark) == 152);
static_assert(offsetof(SlotFormat, disk_block) == 156);
static_assert(offsetof(SlotFormat, blob) == 160);
static_assert(offsetof(SlotFormat, clean) == 162);
static_assert(offsetof(SlotFormat, member_count) == 163);
static_assert(offsetof(SlotFormat, cut_count) == 164);
static_assert(offsetof(SlotFormat, extent_counts) == 165);
static_assert(offsetof(SlotFormat, reserved0) == 167);
static_assert(offsetof(SlotFormat, tables) == 168);
static_assert(offsetof(SlotFormat, members) == 2088);
static_assert(offsetof(SlotFormat, recent_cuts) == 2984);
static_assert(offsetof(SlotFormat, names) == 3176);
static_assert(offsetof(SlotFormat, reserved1) == 4072);
static_assert(offsetof(SlotFormat, checksum) == block_checksum_offset);

}  // namespace lamina
