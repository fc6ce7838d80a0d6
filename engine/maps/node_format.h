// SPDX-License-Identifier: Apache-2.0
// A packed node on the medium: one block. This header, a directory of groups, then the groups'
// columns as bit fields, and the checksum in the last eight bytes, as blobs/block_format.h has it.
// engine/FORMAT.md says how; change it together with that.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/endian.h"
#include "base/units.h"
#include "blobs/block_format.h"

namespace lamina::node_format {

inline constexpr Magic magic = {'L', 'A', 'M', 'I', 'N', 'A', 'N', 'D'};
inline constexpr unsigned max_level = 16;
inline constexpr size_t group_rows = 64;
// Bounds what a node takes when it is unpacked.
inline constexpr size_t max_rows = 4096;

// Columns of a leaf's rows; an inner node's rows have the first two.
enum LeafColumn : size_t { gap = 0, length = 1, address = 2, tag = 3, home = 4 };
enum InnerColumn : size_t { child_gap = 0, child_id = 1 };
inline constexpr size_t leaf_columns = 5, inner_columns = 2, max_columns = 5;

// What kind of extent a row is.
enum class Tag : uint8_t { data = 0, alias = 1, zero = 2, reserved_zero = 3, lost = 4 };
inline constexpr uint64_t tag_count = 5;

// Fields of a directory entry with a fixed width, in bits.
inline constexpr unsigned offset_bits = 15;  // of the group's first bit in the block
inline constexpr unsigned width_bits = 7;    // of a column
inline constexpr unsigned patched_bits = 1;  // whether the column has exceptions
// Fields of a patched column.
inline constexpr unsigned count_bits = 6;  // exceptions: 1 to 63
inline constexpr unsigned row_bits = 6;    // which row an exception is for

struct Header {
  Magic magic;
  le32 version;
  uint8_t level;
  uint8_t first_key_bits;
  le16 rows;
  le64 id;
  le64 birth;
  le64 checkpoint;
  le64 map;
  le64 begin;
  le64 end;
  le64 mapped_blocks;
  le64 first_key;
  std::array<le64, max_columns> bases;
  std::array<uint8_t, max_columns> base_bits;
  uint8_t address_block_bits;
  le16 blob;
  le32 segment;
  le32 generation;
  le32 block;
  std::array<unsigned char, 4> reserved;
};
static_assert(sizeof(Header) == 144);
static_assert(std::has_unique_object_representations_v<Header>);
static_assert(offsetof(Header, version) == 8 && offsetof(Header, rows) == 14);
static_assert(offsetof(Header, id) == 16 && offsetof(Header, mapped_blocks) == 64);
static_assert(offsetof(Header, bases) == 80 && offsetof(Header, base_bits) == 120);
static_assert(offsetof(Header, blob) == 126 && offsetof(Header, reserved) == 140);
static_assert((size_t{1} << offset_bits) == size_t{block_size} * 8);
static_assert((size_t{1} << row_bits) == group_rows && (size_t{1} << count_bits) == group_rows);

}  // namespace lamina::node_format
