// SPDX-License-Identifier: Apache-2.0
// One full example of each structure of the medium, for the tests of the format.
#pragma once

#include <vector>

#include "base/buffer.h"
#include "blobs/blob.h"
#include "blobs/record.h"
#include "blobs/segment.h"
#include "blobs/log_mark.h"
#include "blobs/slot.h"
#include "blobs/summary.h"
#include "blobs/superblock.h"

namespace lamina::samples {

inline Uuid uuid(unsigned char first) {
  Uuid value{};
  for (size_t i = 0; i < value.size(); ++i) value[i] = static_cast<std::byte>(first + i);
  return value;
}
inline Secret secret() {
  return uuid(0xa0);
}

inline const SegmentName segment{BlobId{1}, 7, Generation{42}};
inline constexpr uint32_t record_block = 10;

inline Entry write(Sequence sequence, uint64_t map, uint64_t begin, uint64_t length,
                   uint32_t offset) {
  Entry entry;
  entry.kind = EntryKind::write;
  entry.sequence = sequence;
  entry.map = MapId{map};
  entry.begin = {begin};
  entry.length = {length};
  entry.offset = offset;
  return entry;
}

// One entry of every kind, numbered from `first`; payload from block `offset` on.
inline std::vector<Entry> all_kinds(Sequence first, uint32_t offset) {
  std::vector<Entry> entries;
  auto add = [&](EntryKind kind) -> Entry& {
    Entry& entry = entries.emplace_back();
    entry.kind = kind;
    entry.sequence = first + entries.size() - 1;
    return entry;
  };
  entries.push_back(write(first, 3, 1000, 2, offset));
  Entry* e = &add(EntryKind::zero);
  e->map = MapId{3}, e->begin = {77}, e->length = device_end - DeviceBlock{77};
  e = &add(EntryKind::alias);
  e->map = MapId{4}, e->begin = {5}, e->length = {6}, e->address = {Generation{9}, 300},
  e->source_map = MapId{3};
  e = &add(EntryKind::lost);
  e->map = MapId{4}, e->begin = {50}, e->length = {1};
  e = &add(EntryKind::create);
  e->device = DeviceId{11}, e->map = MapId{12}, e->name = "vm1", e->value = "attributes";
  e->size_bytes = 8 * gib;
  e = &add(EntryKind::unlink);
  e->device = DeviceId{11}, e->name = "vm1";
  e = &add(EntryKind::drop);
  e->device = DeviceId{11}, e->map = MapId{12};
  e = &add(EntryKind::rename);
  e->device = DeviceId{13}, e->name = "old", e->name2 = "new";
  e = &add(EntryKind::resize);
  e->device = DeviceId{13}, e->size_bytes = 10 * gib;
  e = &add(EntryKind::new_map);
  e->device = DeviceId{13}, e->map = MapId{14}, e->source_map = MapId{4}, e->size_bytes = gib;
  e = &add(EntryKind::attribute);
  e->device = DeviceId{13}, e->name = "user.note", e->value = "a short one";
  e = &add(EntryKind::attribute);
  e->device = DeviceId{13}, e->name = "user.long", e->length = {1}, e->offset = offset + 2,
  e->size_bytes = 4000;
  e = &add(EntryKind::attribute);
  e->device = DeviceId{13}, e->name = "user.gone", e->removed = true;
  e = &add(EntryKind::metadata);
  e->device = DeviceId{13}, e->value = "mode, owner, times";
  e = &add(EntryKind::reserve);
  e->device = DeviceId{13}, e->map = MapId{14}, e->begin = {0}, e->length = {256};
  e->size_bytes = mib;
  e = &add(EntryKind::fork);
  e->device = DeviceId{15}, e->map = MapId{16}, e->source_device = DeviceId{13};
  e->source_map = MapId{14}, e->name = "vm1@monday";
  e = &add(EntryKind::fork);
  e->device = DeviceId{17}, e->map = MapId{18}, e->source_device = DeviceId{15};
  e->source_map = MapId{16}, e->name = "vm1@monday again", e->read_only = true;
  e = &add(EntryKind::node);
  e->node = NodeId{99}, e->birth = 12345, e->checkpoint = 17, e->offset = 3;
  add(EntryKind::nothing);
  e = &add(EntryKind::origin);
  e->address = {Generation{0xf0000003}, 0}, e->value = "sizes, times, path";
  return entries;
}

// The record at `record_block` of `segment`: three payload blocks, and a previous record.
inline RecordHeader record() {
  RecordHeader header;
  header.epoch = 5;
  header.at = {segment.generation, record_block};
  header.durable_through = 990;
  header.wall_ns = 1'700'000'000'000'000'000;
  header.next = {
      SegmentName{BlobId{1}, 8, Generation{43}}, SegmentName{BlobId{2}, 1, Generation{44}},
      SegmentName{BlobId{1}, 9, Generation{45}}, SegmentName{BlobId{2}, 2, Generation{46}}};
  header.newest_checkpoint = 17;
  header.oldest_backed = 16;
  header.body.first = 1000;
  header.body.entries = all_kinds(1000, record_block + 1);
  header.body.checksums = {0x11111111, 0x22222222, 0x33333333};
  header.previous_at = {segment.generation, record_block - 2};
  header.previous.first = 999;
  header.previous.entries = {write(999, 3, 4711, 1, record_block - 1)};
  header.previous.checksums = {0xdeadbeef};
  return header;
}

inline RecordHeader first_record_of_an_epoch() {
  RecordHeader header = record();
  header.starts_epoch = true;
  header.cut_sequence = 995;
  header.cut_checksum = 0x0123456789abcdef;
  header.previous_at = {};
  header.previous = {};
  return header;
}

inline SegmentHeader segment_header() {
  SegmentHeader header;
  header.pool = uuid(0x10);
  header.secret = secret();
  header.blob = segment.blob;
  header.index = segment.index;
  header.generation = segment.generation;
  header.kind = SegmentClass::moved;
  header.state = SegmentState::sealed;
  header.epoch = 5;
  header.blocks = 2048;
  header.front_blocks = 4;
  header.used_end = 2000;
  header.wall_ns = 1'700'000'000'000'000'000;
  return header;
}

// `count` scattered small writes.
inline Summary summary(uint32_t count) {
  Summary summary;
  summary.epoch = 5;
  summary.checksums_sum = 0xfeedfacecafebeef;
  summary.second_array = 2040;
  if (count == 0) return summary;
  summary.smallest = 500;
  summary.largest = 500 + count - 1;
  for (uint32_t i = 0; i < count; ++i)
    summary.entries.push_back(write(500 + i, 3, 1000 + 7919 * i % 1000000, 1, 8 + i));
  return summary;
}

inline Superblock superblock(uint64_t size = 16 * gib) {
  const auto geometry = Blob::plan(size, 0, 0);
  Superblock superblock;
  superblock.pool = uuid(0x10);
  superblock.secret = secret();
  superblock.pool_name = "fast";
  superblock.blob = BlobId{1};
  superblock.blob_uuid = uuid(0x30);
  superblock.blob_name = "nvme0";
  superblock.tier = 0;
  geometry->write_to(superblock);
  superblock.created_ns = 1'700'000'000'000'000'000;
  return superblock;
}

inline LogMark log_mark() {
  LogMark mark{5, 899, 1'700'000'000'000'000'000, {}};
  Entry fork;
  fork.kind = EntryKind::fork;
  fork.sequence = 870;
  fork.device = DeviceId{17}, fork.map = MapId{18}, fork.source_device = DeviceId{15};
  fork.source_map = MapId{16}, fork.name = "vm1@monday", fork.read_only = true;
  mark.repeated.push_back(fork);
  Entry alias;
  alias.kind = EntryKind::alias;
  alias.sequence = 890;
  alias.map = MapId{3}, alias.begin = {100}, alias.length = {8};
  alias.source_map = MapId{16}, alias.address = {Generation{41}, 77};
  mark.repeated.push_back(alias);
  return mark;
}

inline Slot slot() {
  Slot slot;
  slot.number = 17;
  slot.oldest_backed = 16;
  slot.epoch = 5;
  slot.cut = 900;
  slot.log_segment = segment;
  slot.log_block = 4;
  slot.log_next = record().next;
  slot.last_checksum = 0x0123456789abcdef;
  slot.durable_through = 899;
  slot.generation_mark = 1000;
  slot.wall_ns = 1'700'000'000'000'000'000;
  slot.tables_bytes = 5 * block_size - 100;
  slot.tables_checksum = 0xfeedfacecafebeef;
  const SegmentName nodes{BlobId{1}, 20, Generation{30}}, copy{BlobId{2}, 21, Generation{31}};
  slot.tables[0] = {{nodes, 100, 3}, {nodes, 200, 2}};
  slot.tables[1] = {{copy, 100, 5}};
  slot.members = {{BlobId{1}, uuid(0x30), BlobKind::journal, 0, 2046, BlobUse::serves, "fast"},
                  {BlobId{2}, uuid(0x50), BlobKind::compression, 2, 128, BlobUse::leaving, "cold"}};
  slot.recent_cuts = {{3, 500}, {4, 700}};
  return slot;
}

}  // namespace lamina::samples
