// SPDX-License-Identifier: Apache-2.0
#include "engine/maps/node.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/check.h"
#include "engine/maps/columns.h"
#include "engine/maps/node_format.h"
#include "engine/maps/node_rows.h"

namespace lamina {

using namespace node_format;

namespace {

template <class Item>
PackPlan plan_rows(std::span<const Item> items, unsigned address_block_bits, size_t bits) {
  PackPlan plan(columns_of<Item>());
  for (size_t from = 0; from < items.size() && plan.bits() <= bits; from += group_rows)
    plan.add(make_group(items.subspan(from, std::min(group_rows, items.size() - from)),
                        address_block_bits));
  return plan;
}

template <class Item>
bool rows_fit(std::span<const Item> items) {
  if (items.size() > max_rows) return false;
  const PackPlan plan = plan_rows(items, address_block_bits_of(items), block_bits);
  return plan.rows() == items.size() && plan.fits();
}

template <class Item>
size_t prefix_that_fits(std::span<const Item> items, size_t bits) {
  items = items.first(std::min(items.size(), max_rows));
  const unsigned address_block_bits = address_block_bits_of(items);
  PackPlan plan = plan_rows(items, address_block_bits, bits);
  if (plan.bits() <= bits && plan.rows() == items.size()) return items.size();
  plan.pop();  // the group that was too much: how many of its rows would do?
  const size_t whole = plan.rows();
  size_t least = 0, most = std::min(group_rows, items.size() - whole);  // fits, does not fit
  while (most - least > 1) {
    const size_t middle = (least + most) / 2;
    plan.add(make_group(items.subspan(whole, middle), address_block_bits));
    (plan.bits() <= bits ? least : most) = middle;
    plan.pop();
  }
  return std::max<size_t>(whole + least, 1);
}

template <class Item>
size_t bits_of(std::span<const Item> items) {
  PackPlan plan(columns_of<Item>());
  const unsigned address_block_bits = address_block_bits_of(items);
  for (size_t from = 0; from < items.size(); from += group_rows)
    plan.add(make_group(items.subspan(from, std::min(group_rows, items.size() - from)),
                        address_block_bits));
  // Too many rows count as too many bits.
  return std::max(plan.bits(), items.size() * block_bits / max_rows);
}

template <class Item>
void pack_rows(std::span<const Item> items, Header& header, std::byte* block) {
  const unsigned address_block_bits = address_block_bits_of(items);
  header.address_block_bits = static_cast<uint8_t>(address_block_bits);
  const PackPlan plan = plan_rows(items, address_block_bits, block_bits);
  LAMINA_CHECK(plan.rows() == items.size() && plan.fits());
  plan.write_directory(header, block);
  for (size_t from = 0; from < items.size(); from += group_rows) {
    const auto part = items.subspan(from, std::min(group_rows, items.size() - from));
    plan.write_group(from / group_rows, make_group(part, address_block_bits), block);
  }
}

Header read_header(std::span<const std::byte> block) {
  LAMINA_CHECK(block.size() == block_size);
  Header header;
  std::memcpy(&header, block.data(), sizeof header);
  return header;
}

std::unexpected<Error> bad(const Header& header, const char* what) {
  return fail(Code::corrupt, "node " + std::to_string(header.id.load()) + ": " + what);
}

Result<> check_header(const Header& header) {
  if (header.magic != magic) return bad(header, "no node's magic");
  if (header.version.load() != format_version) return bad(header, "another version's format");
  const bool leaf = header.level == 0;
  bool values = header.level <= max_level && header.id.load() != 0 &&
                header.begin.load() < header.end.load() && header.end.load() <= device_end.value &&
                header.rows.load() <= max_rows && header.first_key_bits <= 64 &&
                header.address_block_bits <= (leaf ? 32 : 0) && (leaf || header.rows.load() > 0);
  for (size_t c = 0; c < max_columns; ++c) {
    const bool unused = c >= (leaf ? leaf_columns : inner_columns);
    values = values && header.base_bits[c] <= (unused ? 0 : 64) &&
             (!unused || header.bases[c].load() == 0);
  }
  values = values && all_zero(header.reserved);
  if (!values) return bad(header, "a value in the header is out of range");
  return {};
}

// Calls take(item) for every row, in order. Error corrupt: a value makes no sense.
template <class Item, class Take>
Result<> decode_rows(std::span<const std::byte> block, const Header& header, Take take) {
  const RowReader reader(block.data(), columns_of<Item>());
  std::array<ColumnReader, max_columns> columns;
  std::array<std::array<uint64_t, group_rows>, columns_of<Item>()> values;
  RowContext context{header.begin.load(), header.end.load(), header.address_block_bits};
  for (size_t g = 0; g < reader.groups(); ++g) {
    if (!reader.open(g, columns)) return bad(header, "a group lies outside the block");
    const size_t rows = reader.rows_in(g);
    for (size_t c = 0; c < values.size(); ++c) columns[c].decode(rows, values[c].data());
    for (size_t row = 0; row < rows; ++row) {
      Item item;
      // A group's first row has its key in the directory, and no gap.
      const uint64_t begin = row == 0 ? reader.first_key(g) : context.next + values[0][row];
      auto value = [&](size_t column) { return values[column][row]; };
      if (!make_item(begin, value, context, item)) return bad(header, "a row makes no sense");
      take(item);
    }
  }
  return {};
}

}  // namespace

bool fits(const Node& node) {
  return node.header.level == 0 ? rows_fit(std::span<const Extent>(node.extents))
                                : rows_fit(std::span<const Child>(node.children));
}

size_t leaf_prefix_that_fits(std::span<const Extent> extents, size_t bits) {
  return prefix_that_fits(extents, bits);
}
size_t inner_prefix_that_fits(std::span<const Child> children, size_t bits) {
  return prefix_that_fits(children, bits);
}

size_t leaf_bits(std::span<const Extent> extents) {
  return bits_of(extents);
}
size_t inner_bits(std::span<const Child> children) {
  return bits_of(children);
}

void pack_node(const Node& node, std::span<std::byte> block) {
  LAMINA_CHECK(block.size() == block_size);
  const NodeHeader& from = node.header;
  LAMINA_CHECK(from.id != NodeId::none && from.level <= max_level && from.begin < from.end);
  std::memset(block.data(), 0, block.size());
  Header header{};
  header.magic = magic;
  header.version.store(format_version);
  header.level = static_cast<uint8_t>(from.level);
  header.id.store(raw(from.id));
  header.birth.store(from.birth);
  header.checkpoint.store(from.checkpoint);
  header.map.store(raw(from.map));
  header.begin.store(from.begin.value);
  header.end.store(from.end.value);
  header.mapped_blocks.store(from.mapped_blocks);
  if (from.level == 0)
    pack_rows(std::span<const Extent>(node.extents), header, block.data());
  else
    pack_rows(std::span<const Child>(node.children), header, block.data());
  std::memcpy(block.data(), &header, sizeof header);
}

void stamp_node(std::span<std::byte> block, const Secret& secret, const MetadataPlace& place) {
  Header header = read_header(block);
  header.blob.store(raw(place.blob));
  header.segment.store(place.segment);
  header.generation.store(raw(place.generation));
  header.block.store(place.block);
  std::memcpy(block.data(), &header, sizeof header);
  store_block_checksum(block, keyed_block_checksum(block, secret, place));
}

Result<> verify_node(std::span<const std::byte> block, const Secret& secret,
                     const MetadataPlace& place) {
  const Header header = read_header(block);
  if (stored_block_checksum(block) != keyed_block_checksum(block, secret, place))
    return bad(header, "the checksum does not match");
  if (header.blob.load() != raw(place.blob) || header.segment.load() != place.segment ||
      header.generation.load() != raw(place.generation) || header.block.load() != place.block)
    return bad(header, "it was written for another place");
  return check_header(header);
}

Result<Node> unpack_node(std::span<const std::byte> block) {
  const Header header = read_header(block);
  LAMINA_TRY(check_header(header));
  Node node;
  node.header = NodeView(block).header();
  if (header.level == 0) {
    node.extents.reserve(header.rows.load());
    LAMINA_TRY(
        decode_rows<Extent>(block, header, [&](const Extent& e) { node.extents.push_back(e); }));
  } else {
    node.children.reserve(header.rows.load());
    LAMINA_TRY(
        decode_rows<Child>(block, header, [&](const Child& c) { node.children.push_back(c); }));
  }
  return node;
}

}  // namespace lamina
