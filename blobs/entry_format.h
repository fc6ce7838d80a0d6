// SPDX-License-Identifier: Apache-2.0
// How an entry is packed: a tag of one byte (kind and flags), then varints: its number less the
// base's, and the fields that its kind has, in the order of the bits below. Strings are their
// length and their bytes. See FORMAT.md.
// Thread-safety: pure functions.
#pragma once

#include <cstdint>

#include "blobs/entry.h"

namespace lamina::entry_format {

// The tag is a varint of one byte: five bits of kind, two flags, and the top bit clear.
inline constexpr uint8_t tag_kind_mask = 0x1f;
inline constexpr uint8_t tag_removed = 0x20;     // attribute: it was removed
inline constexpr uint8_t tag_read_only = 0x20;   // fork: the new device is read-only
inline constexpr uint8_t tag_in_payload = 0x40;  // attribute: its value, fork: a list of them
inline constexpr uint8_t tag_limit = 0x80;

inline constexpr uint32_t field_device = 1u << 0;
inline constexpr uint32_t field_map = 1u << 1;
inline constexpr uint32_t field_begin = 1u << 2;
inline constexpr uint32_t field_length = 1u << 3;
inline constexpr uint32_t field_offset = 1u << 4;
inline constexpr uint32_t field_address = 1u << 5;  // generation, block
inline constexpr uint32_t field_source_device = 1u << 6;
inline constexpr uint32_t field_source_map = 1u << 7;
inline constexpr uint32_t field_size_bytes = 1u << 8;
inline constexpr uint32_t field_node = 1u << 9;
inline constexpr uint32_t field_birth = 1u << 10;
inline constexpr uint32_t field_checkpoint = 1u << 11;
inline constexpr uint32_t field_name = 1u << 12;
inline constexpr uint32_t field_name2 = 1u << 13;
inline constexpr uint32_t field_value = 1u << 14;

// No kind has this: the tag is not one of ours.
inline constexpr uint32_t unknown_tag = 1u << 31;

constexpr uint32_t fields_of_attribute(uint8_t flags) {
  constexpr uint32_t named = field_device | field_name;
  switch (flags) {
    case 0:
      return named | field_value;
    case tag_removed:
      return named;
    case tag_in_payload:
      return named | field_length | field_offset | field_size_bytes;
    default:
      return unknown_tag;
  }
}

constexpr uint32_t fields_of_fork(uint8_t flags) {
  switch (flags) {
    case 0:
    case tag_read_only:
      return field_device | field_map | field_source_device | field_source_map | field_name;
    case tag_in_payload:
      return field_length | field_offset | field_size_bytes;
    default:
      return unknown_tag;
  }
}

// Which fields an entry with this tag has.
constexpr uint32_t fields_of(uint8_t tag) {
  constexpr uint32_t range = field_map | field_begin | field_length;
  const auto flags = static_cast<uint8_t>(tag & ~tag_kind_mask);
  const auto kind = static_cast<EntryKind>(tag & tag_kind_mask);
  if (kind == EntryKind::attribute) return fields_of_attribute(flags);
  if (kind == EntryKind::fork) return fields_of_fork(flags);
  if (flags != 0) return unknown_tag;
  switch (kind) {
    case EntryKind::write:
      return range | field_offset;
    case EntryKind::zero:
      return range;
    case EntryKind::alias:
      return range | field_address | field_source_map;
    case EntryKind::lost:
      return range;
    case EntryKind::create:
      return field_device | field_map | field_size_bytes | field_name | field_value;
    case EntryKind::unlink:
      return field_device | field_name;
    case EntryKind::drop:
      return field_device | field_map;
    case EntryKind::rename:
      return field_device | field_name | field_name2;
    case EntryKind::resize:
      return field_device | field_size_bytes;
    case EntryKind::new_map:
      return field_device | field_map | field_source_map | field_size_bytes;
    case EntryKind::attribute:
    case EntryKind::fork:
      return unknown_tag;  // have been dealt with
    case EntryKind::metadata:
      return field_device | field_value;
    case EntryKind::reserve:
      return field_device | range | field_size_bytes;
    case EntryKind::node:
      return field_offset | field_node | field_birth | field_checkpoint;
    case EntryKind::nothing:
      return 0;
    case EntryKind::origin:
      return field_address | field_value;
  }
  return unknown_tag;
}

// The tag that an entry is packed with.
inline uint8_t tag_of(const Entry& entry) {
  const bool may_be_long = entry.kind == EntryKind::attribute || entry.kind == EntryKind::fork;
  const bool in_payload = may_be_long && entry.length.value > 0;
  return static_cast<uint8_t>(raw(entry.kind) | (entry.removed ? tag_removed : 0) |
                              (entry.read_only ? tag_read_only : 0) |
                              (in_payload ? tag_in_payload : 0));
}

}  // namespace lamina::entry_format
