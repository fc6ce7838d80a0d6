// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstring>

#include "engine/maps/columns.h"
#include "engine/maps/node.h"
#include "engine/maps/node_format.h"
#include "engine/maps/node_rows.h"

namespace lamina {

using namespace node_format;

namespace {
using Columns = std::array<ColumnReader, max_columns>;
using Decoded = std::array<uint64_t, group_rows>;

template <class Integer>
Integer field(std::span<const std::byte> block, size_t offset) {
  LittleEndian<Integer> value;
  std::memcpy(&value, block.data() + offset, sizeof value);
  return value.load();
}
}  // namespace

NodeHeader NodeView::header() const {
  Header packed;
  std::memcpy(&packed, block_.data(), sizeof packed);
  NodeHeader header;
  header.id = NodeId{packed.id.load()};
  header.birth = packed.birth.load();
  header.checkpoint = packed.checkpoint.load();
  header.map = MapId{packed.map.load()};
  header.begin = {packed.begin.load()};
  header.end = {packed.end.load()};
  header.level = packed.level;
  header.mapped_blocks = packed.mapped_blocks.load();
  return header;
}

bool NodeView::leaf() const {
  return block_[offsetof(Header, level)] == std::byte{0};
}

bool NodeView::lookup(BlockRange range, std::vector<Extent>& out) const {
  const uint64_t node_end = field<uint64_t>(block_, offsetof(Header, end));
  RowContext context{
      field<uint64_t>(block_, offsetof(Header, begin)), node_end,
      std::min<unsigned>(std::to_integer<unsigned>(block_[offsetof(Header, address_block_bits)]),
                         32)};
  if (range.begin.value < context.next || range.end.value > node_end) return false;
  const RowReader reader(block_.data(), leaf_columns);
  if (range.empty() || reader.rows() == 0) return true;
  Columns columns;
  Decoded gaps, lengths;
  for (size_t g = reader.group_for(range.begin.value); g < reader.groups(); ++g) {
    uint64_t begin = reader.first_key(g);
    if (begin >= range.end.value) return true;
    if (!reader.open(g, columns)) return false;
    const size_t rows = reader.rows_in(g);
    columns[LeafColumn::gap].decode(rows, gaps.data());
    columns[LeafColumn::length].decode(rows, lengths.data());
    gaps[0] = 0;
    for (size_t row = 0; row < rows; ++row) {
      begin += gaps[row];
      if (begin < context.next || begin >= node_end || lengths[row] >= node_end - begin)
        return false;
      if (begin >= range.end.value) return true;
      const uint64_t end = begin + lengths[row] + 1;
      if (end > range.begin.value) {
        Extent extent;
        auto value = [&](size_t column) { return columns[column].get(row); };
        if (!fill_extent(value, context.address_block_bits, extent)) return false;
        extent.begin = {begin};
        extent.end = {end};
        out.push_back(clip(extent, range.begin, range.end));
      }
      context.next = begin = end;
    }
  }
  return true;
}

NodeView::Step NodeView::child_for(DeviceBlock key) const {
  const RowReader reader(block_.data(), inner_columns);
  const DeviceBlock node_end{field<uint64_t>(block_, offsetof(Header, end))};
  Step step{NodeId::none, key, node_end};
  if (reader.rows() == 0) return step;
  Columns columns;
  const size_t g = reader.group_for(key.value);
  if (!reader.open(g, columns)) return step;
  const size_t rows = reader.rows_in(g);
  Decoded gaps;
  columns[InnerColumn::child_gap].decode(rows, gaps.data());
  uint64_t begin = reader.first_key(g);
  size_t row = 0;
  while (row + 1 < rows && begin + gaps[row + 1] <= key.value) begin += gaps[++row];
  step.id = NodeId{columns[InnerColumn::child_id].get(row)};
  step.begin = {begin};
  if (row + 1 < rows)
    step.end = {begin + gaps[row + 1]};
  else if (g + 1 < reader.groups())
    step.end = {reader.first_key(g + 1)};
  return step;
}

}  // namespace lamina
