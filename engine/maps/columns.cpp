// SPDX-License-Identifier: Apache-2.0
#include "engine/maps/columns.h"

#include <algorithm>

#include "base/check.h"

namespace lamina {

using namespace node_format;

namespace {

constexpr size_t header_bits = sizeof(Header) * 8;
// Where the columns end: the checksum is behind them.
constexpr size_t end_bit = block_checksum_offset * 8;

size_t entry_bits(unsigned first_key_bits, size_t columns, const auto& base_bits) {
  size_t bits = first_key_bits + offset_bits;
  for (size_t c = 0; c < columns; ++c) bits += base_bits[c] + width_bits + patched_bits;
  return bits;
}

}  // namespace

size_t ColumnPlan::bits(size_t rows) const {
  const size_t patch =
      exceptions == 0 ? 0 : count_bits + width_bits + exceptions * (row_bits + high_width);
  return rows * width + patch;
}

ColumnPlan plan_column(const RowGroup& group, size_t column) {
  ColumnPlan plan;
  std::array<uint64_t, group_rows> gathered;
  const uint64_t* values = group.values[column].data();
  size_t count = group.rows;
  if (group.present[column] != low_mask(static_cast<unsigned>(group.rows))) {
    count = 0;
    for (uint64_t left = group.present[column]; left != 0; left &= left - 1)
      gathered[count++] = values[std::countr_zero(left)];
    values = gathered.data();
  }
  if (count == 0) return plan;
  const auto [least, largest] = std::minmax_element(values, values + count);
  plan.base = *least;
  if (*largest == plan.base) return plan;

  std::array<uint8_t, 65> needing{};  // how many rows need exactly so many bits
  for (size_t i = 0; i < count; ++i) ++needing[bits_for(values[i] - plan.base)];
  const unsigned most = bits_for(*largest - plan.base);
  plan.width = most;
  size_t best = plan.bits(group.rows);
  ColumnPlan candidate = plan;
  for (unsigned width = most; width-- > 0;) {
    candidate.width = width;
    candidate.exceptions += needing[width + 1];
    candidate.high_width = most - width;
    if (candidate.exceptions >= group_rows) break;
    const size_t bits = candidate.bits(group.rows);
    if (bits >= best) continue;
    best = bits;
    plan = candidate;
  }
  return plan;
}

void PackPlan::add(const RowGroup& group) {
  Group planned{group.first_key, group.rows, 0, {}};
  for (size_t c = 0; c < columns_; ++c) {
    planned.columns[c] = plan_column(group, c);
    planned.bits += planned.columns[c].bits(group.rows);
  }
  group_bits_ += planned.bits;
  groups_.push_back(planned);
}

void PackPlan::pop() {
  group_bits_ -= groups_.back().bits;
  groups_.pop_back();
}

size_t PackPlan::rows() const {
  return groups_.empty() ? 0 : (groups_.size() - 1) * group_rows + groups_.back().rows;
}

PackPlan::Shape PackPlan::shape() const {
  Shape shape;
  if (!groups_.empty()) {
    shape.first_key = groups_.front().first_key;
    shape.first_key_bits = bits_for(groups_.back().first_key - shape.first_key);
  }
  for (size_t c = 0; c < columns_; ++c) {
    uint64_t least = ~uint64_t{0}, most = 0;
    for (const Group& group : groups_) {
      least = std::min(least, group.columns[c].base);
      most = std::max(most, group.columns[c].base);
    }
    if (groups_.empty()) continue;
    shape.bases[c] = least;
    shape.base_bits[c] = bits_for(most - least);
  }
  shape.entry_bits = entry_bits(shape.first_key_bits, columns_, shape.base_bits);
  return shape;
}

size_t PackPlan::bits() const {
  return header_bits + groups_.size() * shape().entry_bits + group_bits_ + (block_bits - end_bit);
}

size_t PackPlan::offset_of(size_t index, const Shape& shape) const {
  size_t bit = header_bits + groups_.size() * shape.entry_bits;
  for (size_t g = 0; g < index; ++g) bit += groups_[g].bits;
  return bit;
}

void PackPlan::write_directory(Header& header, std::byte* block) const {
  LAMINA_CHECK(fits());
  const Shape shape = this->shape();
  header.rows.store(static_cast<uint16_t>(rows()));
  header.first_key.store(shape.first_key);
  header.first_key_bits = static_cast<uint8_t>(shape.first_key_bits);
  for (size_t c = 0; c < columns_; ++c) {
    header.bases[c].store(shape.bases[c]);
    header.base_bits[c] = static_cast<uint8_t>(shape.base_bits[c]);
  }
  size_t bit = header_bits, offset = offset_of(0, shape);
  auto put = [&](unsigned width, uint64_t value) {
    write_bits(block, bit, width, value);
    bit += width;
  };
  for (const Group& group : groups_) {
    put(shape.first_key_bits, group.first_key - shape.first_key);
    put(offset_bits, offset);
    for (size_t c = 0; c < columns_; ++c) {
      const ColumnPlan& column = group.columns[c];
      put(shape.base_bits[c], column.base - shape.bases[c]);
      put(width_bits, column.width);
      put(patched_bits, column.exceptions > 0 ? 1 : 0);
    }
    offset += group.bits;
  }
}

void PackPlan::write_group(size_t index, const RowGroup& group, std::byte* block) const {
  size_t bit = offset_of(index, shape());
  auto put = [&](unsigned width, uint64_t value) {
    write_bits(block, bit, width, value);
    bit += width;
  };
  for (size_t c = 0; c < columns_; ++c) {
    const ColumnPlan& plan = groups_[index].columns[c];
    auto above_base = [&](size_t row) {
      return group.present[c] >> row & 1 ? group.values[c][row] - plan.base : 0;
    };
    if (plan.width > 0)
      for (size_t row = 0; row < group.rows; ++row)
        put(plan.width, above_base(row) & low_mask(plan.width));
    if (plan.exceptions == 0) continue;
    put(count_bits, plan.exceptions);
    put(width_bits, plan.high_width);
    for (size_t row = 0; row < group.rows; ++row) {
      const uint64_t value = above_base(row);
      if (bits_for(value) <= plan.width) continue;
      put(row_bits, row);
      put(plan.high_width, value >> plan.width);
    }
  }
}

uint64_t ColumnReader::get(size_t row) const {
  uint64_t value = read_bits(block_, bit_ + row * width_, width_);
  const size_t each = row_bits + high_width_;
  for (unsigned e = 0; e < exceptions_; ++e)
    if (read_bits(block_, exceptions_at_ + e * each, row_bits) == row)
      value += read_bits(block_, exceptions_at_ + e * each + row_bits, high_width_) << width_;
  return base_ + value;
}

void ColumnReader::decode(size_t rows, uint64_t* out) const {
  if (width_ == 0) {
    std::fill_n(out, rows, base_);
  } else if (width_ <= 56 && bit_ + rows * width_ + 64 <= block_bits) {
    const uint64_t mask = low_mask(width_);
    size_t bit = bit_;
    for (size_t row = 0; row < rows; ++row, bit += width_) {
      uint64_t word;
      std::memcpy(&word, block_ + bit / 8, 8);
      out[row] = base_ + (word >> (bit % 8) & mask);
    }
  } else {
    for (size_t row = 0; row < rows; ++row)
      out[row] = base_ + read_bits(block_, bit_ + row * width_, width_);
  }
  const size_t each = row_bits + high_width_;
  for (unsigned e = 0; e < exceptions_; ++e) {
    const size_t row = read_bits(block_, exceptions_at_ + e * each, row_bits);
    const uint64_t high = read_bits(block_, exceptions_at_ + e * each + row_bits, high_width_);
    if (row < rows) out[row] += high << width_;
  }
}

RowReader::RowReader(const std::byte* block, size_t columns) : block_(block), columns_(columns) {
  Header header;
  std::memcpy(&header, block, sizeof header);
  rows_ = std::min<size_t>(header.rows.load(), max_rows);
  first_key_ = header.first_key.load();
  first_key_bits_ = std::min<unsigned>(header.first_key_bits, 64);
  for (size_t c = 0; c < columns_; ++c) {
    bases_[c] = header.bases[c].load();
    base_bits_[c] = std::min<unsigned>(header.base_bits[c], 64);
  }
  entry_bits_ = entry_bits(first_key_bits_, columns_, base_bits_);
}

size_t RowReader::rows_in(size_t group) const {
  return std::min(group_rows, rows_ - group * group_rows);
}

uint64_t RowReader::first_key(size_t group) const {
  return first_key_ + read_bits(block_, header_bits + group * entry_bits_, first_key_bits_);
}

size_t RowReader::group_for(uint64_t key) const {
  size_t low = 0, high = groups();  // the answer is in [low, high)
  while (high - low > 1) {
    const size_t middle = (low + high) / 2;
    (first_key(middle) <= key ? low : high) = middle;
  }
  return low;
}

bool RowReader::open(size_t group, std::array<ColumnReader, max_columns>& columns) const {
  size_t entry = header_bits + group * entry_bits_ + first_key_bits_;
  auto take = [&](unsigned width) {
    const uint64_t value = read_bits(block_, entry, width);
    entry += width;
    return value;
  };
  size_t bit = take(offset_bits);
  const size_t rows = rows_in(group);
  for (size_t c = 0; c < columns_; ++c) {
    ColumnReader& column = columns[c];
    column.block_ = block_;
    column.base_ = bases_[c] + take(base_bits_[c]);
    column.width_ = static_cast<unsigned>(take(width_bits));
    const bool patched = take(patched_bits) != 0;
    if (column.width_ > 64) return false;
    column.bit_ = bit;
    bit += rows * column.width_;
    column.exceptions_ = column.high_width_ = 0;
    if (patched) {
      column.exceptions_ = static_cast<unsigned>(read_bits(block_, bit, count_bits));
      column.high_width_ = static_cast<unsigned>(read_bits(block_, bit + count_bits, width_bits));
      if (column.width_ + column.high_width_ > 64 || column.width_ == 64) return false;
      bit += count_bits + width_bits;
      column.exceptions_at_ = bit;
      bit += column.exceptions_ * (row_bits + column.high_width_);
    }
    if (bit > end_bit) return false;
  }
  return entry <= end_bit;
}

}  // namespace lamina
