// SPDX-License-Identifier: Apache-2.0
// Nodes and the tables of a checkpoint: engine/FORMAT.md.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "blobs/block_format.h"
#include "decoders.h"
#include "engine/maps/node.h"
#include "engine/maps/node_format.h"
#include "engine/tables.h"
#include "engine/tables_format.h"
#include "tests/unit/tables_sample.h"

namespace lamina::fuzz {
namespace {

const Secret secret{std::byte{1}, std::byte{2}};
const MetadataPlace place{BlobId{1}, 7, Generation{99}, 12};

Buffer block_of(std::span<const std::byte> bytes) {
  Buffer block(block_size);
  std::ranges::fill(block.span(), std::byte{});
  std::ranges::copy(bytes.first(std::min<size_t>(bytes.size(), block_size)), block.data());
  return block;
}

// What may be asked of a node whose header is good, whatever its rows are.
void look_around(std::span<const std::byte> block) {
  const NodeView view(block);
  const NodeHeader header = view.header();
  const uint64_t begin = header.begin.value, end = header.end.value;
  for (const uint64_t key : {begin, begin + (end - begin) / 2, end - 1}) {
    if (view.leaf()) {
      std::vector<Extent> found;
      (void)view.lookup({{key}, {key + 1}}, found);
      found.clear();
      if (!view.lookup({{begin}, {key + 1}}, found)) continue;
      for (const Extent& extent : found)
        LAMINA_CHECK(extent.begin.value >= begin && extent.end.value <= key + 1);
    } else {
      (void)view.child_for({key});
    }
  }
}

void decode_node(std::span<const std::byte> bytes) {
  Buffer block = block_of(bytes);
  stamp_node(block.span(), secret, place);
  if (!verify_node(block.span(), secret, place)) return;
  look_around(block.span());
  const auto node = unpack_node(block.span());
  if (!node || !fits(*node)) return;
  Buffer again(block_size);
  pack_node(*node, again.span());
  stamp_node(again.span(), secret, place);
  LAMINA_CHECK(verify_node(again.span(), secret, place));
  const auto same = unpack_node(again.span());
  LAMINA_CHECK(same && same->extents == node->extents && same->children == node->children);
}

void decode_tables_page(std::span<const std::byte> bytes) {
  Buffer block = block_of(bytes);
  store_block_checksum(block.span(), keyed_block_checksum(block.span(), secret, place));
  const auto page = unpack_tables_page(block.span(), secret, place);
  if (!page) return;
  Buffer again(block_size);
  pack_tables_page(*page, secret, place, again.span());
  LAMINA_CHECK(std::ranges::equal(block.span(), again.span()));
}

void decode_tables(std::span<const std::byte> bytes) {
  const auto tables = unpack_tables(bytes);
  if (!tables) return;
  const Bytes once = pack_tables(*tables);
  const auto same = unpack_tables(once);
  LAMINA_CHECK(same && pack_tables(*same) == once);
}

void decode_node_table(std::span<const std::byte> bytes) {
  const auto table = NodeTable::unpack(bytes);
  if (!table) return;
  Bytes once, twice;
  table->pack(once);
  std::span<const std::byte> rest(once);
  const auto same = NodeTable::unpack(rest);
  LAMINA_CHECK(same && rest.empty());
  same->pack(twice);
  LAMINA_CHECK(once == twice);
}

void decode_attributes(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto value = unpack_attributes(text);
  if (!value) return;
  const auto same = unpack_attributes(pack_attributes(value->attributes, value->read_only));
  LAMINA_CHECK(same && same->attributes == value->attributes &&
               same->read_only == value->read_only);
}

Bytes packed(const Node& node) {
  Buffer block(block_size);
  pack_node(node, block.span());
  return {block.span().begin(), block.span().end()};
}

std::vector<Bytes> nodes() {
  Node leaf, inner;
  leaf.header = {.id = NodeId{5}, .birth = 17, .checkpoint = 3, .map = MapId{4}};
  leaf.header.end = device_end;
  inner.header = leaf.header;
  inner.header.level = 2;
  for (uint32_t i = 0; i < 150; ++i) {
    Extent extent{.begin = {i * 10}, .end = {i * 10 + 1 + i % 9}};
    if (i % 7 == 3) {
      extent.kind = ExtentKind::zero;
      extent.home = Generation{3};
    } else {
      extent.address = {Generation{40 + i % 5}, i * 13};
    }
    leaf.extents.push_back(extent);
    inner.children.push_back({{i * 1000}, NodeId{100 + i * 3}});
  }
  return {packed(leaf), packed(inner)};
}

std::vector<Bytes> pages() {
  const Bytes stream = pack_tables(samples::tables());
  Buffer block(block_size);
  TablesPage page{17, 3, 12345, 0, 2, stream};
  page.bytes = page.bytes.first(std::min(stream.size(), tables_page_bytes));
  pack_tables_page(page, secret, place, block.span());
  return {{block.span().begin(), block.span().end()}};
}

std::vector<Bytes> streams() {
  Tables small = samples::tables();
  small.devices[0].xattrs.clear();
  return {pack_tables(small), pack_tables(Tables{})};
}

std::vector<Bytes> node_tables() {
  Bytes out;
  samples::tables().nodes.pack(out);
  return {out};
}

std::vector<Bytes> attributes() {
  const std::string value = pack_attributes({0644, 107, 108, 1, 2, 3}, true);
  const auto bytes = std::as_bytes(std::span(value));
  return {{bytes.begin(), bytes.end()}};
}

}  // namespace

std::span<const Decoder> decoders_of_engine() {
  static const Decoder all[] = {
      {"node", nodes, decode_node},
      {"tables_page", pages, decode_tables_page},
      {"tables", streams, decode_tables},
      {"node_table", node_tables, decode_node_table},
      {"attributes", attributes, decode_attributes},
  };
  return all;
}

}  // namespace lamina::fuzz
