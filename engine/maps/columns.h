// SPDX-License-Identifier: Apache-2.0
// Rows of numbers packed into a block as columns, in groups of 64 rows: each column of a group is
// frame of reference (what exceeds a base, in as few bits as serve most rows) with exceptions for
// the few that need more (patched frame of reference, as by Zukowski et al., "Super-scalar
// RAM-CPU cache compression"). A directory in front has each group's first key, so a look-up
// decodes the one group that it needs.
// Thread-safety: plain values and pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/maps/bits.h"
#include "engine/maps/node_format.h"

namespace lamina {

// Up to 64 rows. A value that is not `present` costs nothing if nobody needs it: it reads back as
// any number.
struct RowGroup {
  uint64_t first_key = 0;
  size_t rows = 0;
  std::array<std::array<uint64_t, node_format::group_rows>, node_format::max_columns> values;
  std::array<uint64_t, node_format::max_columns> present{};

  void set(size_t column, uint64_t value) {  // in the row that is being added
    values[column][rows] = value;
    present[column] |= uint64_t{1} << rows;
  }
};

// How one column of one group is packed.
struct ColumnPlan {
  uint64_t base = 0;
  unsigned width = 0;
  unsigned exceptions = 0;  // rows that exceed the width
  unsigned high_width = 0;  // bits of an exception above the width
  size_t bits(size_t rows) const;
};

ColumnPlan plan_column(const RowGroup& group, size_t column);

// How much room a node's rows take, group by group.
class PackPlan {
 public:
  explicit PackPlan(size_t columns) : columns_(columns) {}
  void add(const RowGroup& group);
  void pop();           // takes the last group back
  size_t bits() const;  // header, directory, groups and checksum
  size_t rows() const;
  bool fits() const { return bits() <= block_bits && rows() <= node_format::max_rows; }

  // Fills in the header's fields about rows and writes the directory and the groups, which are
  // those that were added. The block is zero so far.
  struct Group {
    uint64_t first_key;
    size_t rows, bits;
    std::array<ColumnPlan, node_format::max_columns> columns;
  };
  void write_directory(node_format::Header& header, std::byte* block) const;
  // Asserts that write_directory has been called; `index` counts from 0 in order.
  void write_group(size_t index, const RowGroup& group, std::byte* block) const;

 private:
  struct Shape {  // what the header says for all groups
    uint64_t first_key = 0;
    unsigned first_key_bits = 0;
    std::array<uint64_t, node_format::max_columns> bases{};
    std::array<unsigned, node_format::max_columns> base_bits{};
    size_t entry_bits = 0;
  };
  Shape shape() const;
  size_t offset_of(size_t index, const Shape& shape) const;

  size_t columns_;
  std::vector<Group> groups_;
  size_t group_bits_ = 0;  // of all groups' columns
};

// One column of one group of a packed node.
class ColumnReader {
 public:
  uint64_t get(size_t row) const;
  void decode(size_t rows, uint64_t* out) const;

 private:
  friend class RowReader;
  const std::byte* block_ = nullptr;
  size_t bit_ = 0;            // of the first row
  size_t exceptions_at_ = 0;  // bit of the first exception
  uint64_t base_ = 0;
  unsigned width_ = 0, exceptions_ = 0, high_width_ = 0;
};

// Reads a packed node's rows. Never leaves the block, whatever it contains.
class RowReader {
 public:
  RowReader(const std::byte* block, size_t columns);
  size_t rows() const { return rows_; }
  size_t groups() const { return div_up(rows_, node_format::group_rows); }
  size_t rows_in(size_t group) const;
  uint64_t first_key(size_t group) const;
  // The last group whose first key is at or below `key`; 0 if there is none.
  size_t group_for(uint64_t key) const;
  // Its columns. False: widths or places that pack never writes.
  bool open(size_t group, std::array<ColumnReader, node_format::max_columns>& columns) const;

 private:
  const std::byte* block_;
  size_t columns_, rows_;
  uint64_t first_key_;
  unsigned first_key_bits_;
  std::array<uint64_t, node_format::max_columns> bases_;
  std::array<unsigned, node_format::max_columns> base_bits_;
  size_t entry_bits_;
};

}  // namespace lamina
