// SPDX-License-Identifier: Apache-2.0
// A range of a map put together from nodes that say what is to be said, and from new ones where
// there are none.
// Thread-safety: plain values.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <vector>

#include "engine/maps/node.h"

namespace lamina {

// Of all ways to tile a range with nodes of one level the one that leaves fewest extents to new
// nodes. What is left is filled from the left, level by level, like a fresh tree.
class Cover {
 public:
  struct Piece {
    NodeId id = NodeId::none;
    BlockRange range;
    uint64_t mapped_blocks = 0;
  };
  // `said`: all that the range has, in order; it outlives this. `node_bytes`: of a block, that a
  // node may take. `take_id`: for a new node of a level; error: there is none.
  Cover(std::span<const Extent> said, MapId map, size_t node_bytes,
        std::function<Result<NodeId>(uint32_t level)> take_id)
      : said_(said), map_(map), node_bits_(node_bytes * 8), take_id_(std::move(take_id)) {}

  // It may serve.
  void add(uint32_t level, const Piece& piece) { pieces_[level].emplace(piece.range.begin, piece); }
  // A new node for the whole range, under that id; it may serve, too. Error: it takes more than
  // one.
  Result<> make(uint32_t level, NodeId id, BlockRange range);
  // Nodes of the level that tile the range, in order.
  Result<std::vector<Piece>> over(uint32_t level, BlockRange range);
  // Those that were made, children before what has them; without births.
  std::vector<Node>& made() { return made_; }
  // What is said of a part.
  std::vector<Extent> said(BlockRange range) const;

 private:
  std::vector<Piece> tile(uint32_t level, BlockRange range) const;
  Result<> fill(uint32_t level, BlockRange gap, std::vector<Piece>& out);
  Piece make(uint32_t level, NodeId id, BlockRange range, std::span<const Extent> extents,
             std::span<const Piece> children);
  std::span<const Extent> overlapping(BlockRange range) const;

  std::span<const Extent> said_;
  MapId map_;
  size_t node_bits_;
  std::function<Result<NodeId>(uint32_t level)> take_id_;
  std::map<uint32_t, std::multimap<DeviceBlock, Piece>> pieces_;  // by level, where they begin
  std::vector<Node> made_;
};

// An inner node's children and counts.
void set_children(Node& node, std::span<const Cover::Piece> children);

}  // namespace lamina
