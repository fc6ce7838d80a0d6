// SPDX-License-Identifier: Apache-2.0
// The header of a record as it lies on the medium. See FORMAT.md.
#pragma once

#include <cstddef>

#include "blobs/block_format.h"
#include "blobs/record.h"

namespace lamina {

inline constexpr Magic record_magic = {'L', 'A', 'M', 'I', 'N', 'A', 'R', 'C'};

// None is {0, none, none}.
struct SegmentNameFormat {
  le32 index;
  le32 generation;
  le16 blob;
  le16 reserved;
};
static_assert(sizeof(SegmentNameFormat) == 12);
static_assert(std::has_unique_object_representations_v<SegmentNameFormat>);
static_assert(offsetof(SegmentNameFormat, generation) == 4);
static_assert(offsetof(SegmentNameFormat, blob) == 8);
static_assert(offsetof(SegmentNameFormat, reserved) == 10);

inline bool valid_name(const SegmentName& name) {
  return name.blob != BlobId::none || (name.index == 0 && name.generation == Generation::none);
}
inline SegmentNameFormat pack_name(const SegmentName& name) {
  LAMINA_CHECK(valid_name(name));
  SegmentNameFormat format{};
  format.index.store(name.index);
  format.generation.store(raw(name.generation));
  format.blob.store(raw(name.blob));
  return format;
}
// False: out of range.
inline bool unpack_name(const SegmentNameFormat& format, SegmentName& name) {
  name = {BlobId{format.blob.load()}, format.index.load(), Generation{format.generation.load()}};
  return format.reserved.load() == 0 && valid_name(name);
}

// What a body holds, in the order: its checksums, its packed entries.
struct RecordBodyFormat {
  le64 first;
  le16 entries;
  le16 entry_bytes;
  le16 payload_blocks;
  le16 reserved;
};
static_assert(sizeof(RecordBodyFormat) == 16);
static_assert(std::has_unique_object_representations_v<RecordBodyFormat>);
static_assert(offsetof(RecordBodyFormat, entries) == 8);
static_assert(offsetof(RecordBodyFormat, entry_bytes) == 10);
static_assert(offsetof(RecordBodyFormat, payload_blocks) == 12);
static_assert(offsetof(RecordBodyFormat, reserved) == 14);

struct RecordFormat {
  Magic magic;
  le32 version;
  le32 epoch;
  le32 index;  // of the segment in its blob
  le32 generation;
  le32 block;  // of this header in the segment
  le16 blob;
  unsigned char starts_epoch;
  unsigned char reserved;
  le64 durable_through;
  le64 wall_ns;
  std::array<SegmentNameFormat, 4> next;
  le64 newest_checkpoint;
  le64 oldest_backed;
  le64 cut_sequence;
  le64 cut_checksum;
  RecordBodyFormat own;
  RecordBodyFormat previous;
  le32 previous_generation;
  le32 previous_block;
  std::array<unsigned char, 3920> bodies;  // the own body, then the previous one, then zeroes
  le64 checksum;
};
static_assert(is_block_format<RecordFormat>);
static_assert(offsetof(RecordFormat, version) == 8);
static_assert(offsetof(RecordFormat, epoch) == 12);
static_assert(offsetof(RecordFormat, index) == 16);
static_assert(offsetof(RecordFormat, generation) == 20);
static_assert(offsetof(RecordFormat, block) == 24);
static_assert(offsetof(RecordFormat, blob) == 28);
static_assert(offsetof(RecordFormat, starts_epoch) == 30);
static_assert(offsetof(RecordFormat, reserved) == 31);
static_assert(offsetof(RecordFormat, durable_through) == 32);
static_assert(offsetof(RecordFormat, wall_ns) == 40);
static_assert(offsetof(RecordFormat, next) == 48);
static_assert(offsetof(RecordFormat, newest_checkpoint) == 96);
static_assert(offsetof(RecordFormat, oldest_backed) == 104);
static_assert(offsetof(RecordFormat, cut_sequence) == 112);
static_assert(offsetof(RecordFormat, cut_checksum) == 120);
static_assert(offsetof(RecordFormat, own) == 128);
static_assert(offsetof(RecordFormat, previous) == 144);
static_assert(offsetof(RecordFormat, previous_generation) == 160);
static_assert(offsetof(RecordFormat, previous_block) == 164);
static_assert(offsetof(RecordFormat, bodies) == 168);
static_assert(offsetof(RecordFormat, checksum) == block_checksum_offset);

}  // namespace lamina
