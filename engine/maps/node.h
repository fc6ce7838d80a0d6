// SPDX-License-Identifier: Apache-2.0
// A page of a map's tree: one block when packed. A leaf holds extents, an inner node children.
// Nodes are packed by a checkpoint and never change afterwards, so they are cached packed, too: a
// look-up unpacks the one group that it needs (some 100 ns), and a cache of the same bytes holds
// several times as much of the map.
// Extents are delta-coded in groups, columns as frame of reference: some 4 bytes an extent where
// everything is random. FORMAT.md has the layout.
// Thread-safety: plain values and immutable pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "base/checksum.h"
#include "base/result.h"
#include "engine/maps/extent.h"

namespace lamina {

struct NodeHeader {
  NodeId id = NodeId::none;
  Sequence birth = 0;               // the entry number at which this (id, content line) began
  CheckpointNumber checkpoint = 0;  // the one that wrote it: its version (A12)
  MapId map = MapId::none;          // of the tree that it was written for
  DeviceBlock begin{}, end{};       // the key range that it answers for
  uint32_t level = 0;               // 0 = leaf
  uint64_t mapped_blocks = 0;       // data blocks below that are stored
  BlockRange range() const { return {begin, end}; }
};

struct Child {
  DeviceBlock begin{};  // answers from here to the next child's begin, or the node's end
  NodeId id = NodeId::none;
  friend bool operator==(const Child&, const Child&) = default;
};

// Unpacked, for merging. Exactly one of the lists is used, by level.
struct Node {
  NodeHeader header;
  std::vector<Extent> extents;  // sorted, inside [begin, end), none overlapping
  std::vector<Child> children;  // sorted; the first begins at header.begin

  // Empty, and without a birth.
  static Node of(MapId map, NodeId id, uint32_t level, BlockRange range) {
    Node node;
    node.header.id = id;
    node.header.map = map;
    node.header.begin = range.begin;
    node.header.end = range.end;
    node.header.level = level;
    return node;
  }
};

// Whether it fits one block.
bool fits(const Node& node);
// How many of them, from the first on, fit so many bits of a block; at least 1.
size_t leaf_prefix_that_fits(std::span<const Extent> extents, size_t bits = size_t{block_size} * 8);
size_t inner_prefix_that_fits(std::span<const Child> children,
                              size_t bits = size_t{block_size} * 8);

// How many bits of a block they take, header and directory included; more than a block has where
// they do not fit.
size_t leaf_bits(std::span<const Extent> extents);
size_t inner_bits(std::span<const Child> children);

// Two steps, since the place, and so the keyed checksum, is known last: pack fills everything,
// stamp adds checksum and place.
void pack_node(const Node& node, std::span<std::byte> block);
void stamp_node(std::span<std::byte> block, const Secret& secret, const MetadataPlace& place);

// Errors: corrupt: checksum, magic, place or a value of the header is wrong. Rows are not looked
// at: behind a keyed checksum only a bug of ours makes bad ones, and who decodes a row checks it.
Result<> verify_node(std::span<const std::byte> block, const Secret& secret,
                     const MetadataPlace& place);
// Of a verified block. Error corrupt: a row makes no sense.
Result<Node> unpack_node(std::span<const std::byte> block);

// Reads of a verified, packed node, without unpacking all of it. What it answers is checked; what
// it need not decode is not. Nothing outside the block is read, whatever it contains.
class NodeView {
 public:
  explicit NodeView(std::span<const std::byte> block) : block_(block) {}
  NodeHeader header() const;
  bool leaf() const;
  // The extents that overlap `range`, clipped, appended in order. False: `range` is not the node's,
  // or a row on the way makes no sense; `out` may have got some.
  [[nodiscard]] bool lookup(BlockRange range, std::vector<Extent>& out) const;
  // The child that answers for `key`, and where the next one begins (or the node's end). Where
  // rows make no sense it is node none, or `end` is not past `key`.
  struct Step {
    NodeId id;
    DeviceBlock begin, end;
  };
  Step child_for(DeviceBlock key) const;

 private:
  std::span<const std::byte> block_;
};

}  // namespace lamina
