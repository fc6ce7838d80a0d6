// SPDX-License-Identifier: Apache-2.0
// Which node hangs where in the images that the pool keeps, as the inner nodes that can be read
// say, those among them that were made again. For those who put a node back into its place.
// Thread-safety: plain values; survey() any number at a time. Memory: some 64 bytes a node.
#pragma once

#include <functional>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/task.h"
#include "engine/image.h"
#include "engine/lineage.h"
#include "engine/maps/node.h"

namespace lamina {

class PoolState;

inline constexpr size_t nodes_read_a_turn = 16;  // between two chances for others to run

// A version of a node: images that have the same one have the same blocks.
struct NodeRef {
  NodeId id = NodeId::none;
  CheckpointNumber version = 0;
  friend bool operator==(const NodeRef&, const NodeRef&) = default;
  struct Hash {
    size_t operator()(const NodeRef& ref) const {
      return std::hash<uint64_t>{}(raw(ref.id) * 0x9e3779b97f4a7c15 ^ ref.version);
    }
  };
};
// None: it is not in the image's table.
NodeRef ref_in(const Image& image, NodeId id);
// What the image's table says of that version; null: it has another one, or none.
const NodeEntry* find_in(const Image& image, NodeRef node);

// Where a node hangs, in the newest image that has it.
struct NodePlace {
  ImagePtr image;
  bool is_newest = false;   // the image is, of all that were surveyed
  std::vector<MapId> maps;  // that have it, at least one
  BlockRange range;         // that it answers for
};

struct Survey {
  struct Root {
    NodeRef node;
    ImagePtr image;
    MapId map = MapId::none;
  };
  struct Link {
    NodeRef parent;  // none: the child is a root
    NodeRef child;
    uint32_t level = 0;  // of the child
    BlockRange range;
  };
  struct Lost {
    NodeRef node;
    bool temporary = false;  // it may come back: it could not be read
  };
  std::vector<ImagePtr> images;  // the newest first
  std::vector<Root> roots;
  std::vector<Link> links;  // to a node before those from it
  std::vector<Lost> lost;   // inner nodes that could not be read

  void add_children(const Image& image, NodeRef parent, const Node& node);
  void sort_links();  // after some were added below what was there
  // Of a node that it has met: what tables say of it.
  const NodeEntry& entry(NodeRef node) const;
  // Error corrupt: no map has it.
  Result<NodePlace> place_of(NodeRef node) const;
};

// Of nodes, as children of one that is lost, at which entry at the latest the maps that have them
// diverged from those of a place, and these from each other: what was born until then all of them
// may have in common, and none of them changes it in its place (F1).
class Divergences {
 public:
  Divergences(const Survey& survey, const NodePlace& place, NodeRef node);
  // 0: with some they have nothing in common. UINT64_MAX: one map alone is concerned.
  Sequence until(NodeRef node) const {
    const auto found = of_.find(node);
    return found == of_.end() ? own_ : found->second;
  }
  // Whether the place's maps may have it: that which it was written for is one of them, or diverged
  // from them later. Where a way to the place may lead through another node that is lost, what was
  // written for a map that nobody knows any more is not allowed.
  bool allow(NodeRef node, const NodeHeader& header) const;
  // Whether a tree of the place's image has it, as far as inner nodes can be read.
  bool reach(NodeRef node) const { return of_.contains(node); }

 private:
  DivergencesFrom from_;
  std::unordered_set<MapId> living_;
  bool hidden_ = false;
  Sequence own_ = UINT64_MAX;  // where no other map has it
  std::unordered_map<NodeRef, Sequence, NodeRef::Hash> of_;
};

// `leaf`: of the links to leaves the ones to this are told alone; none: all.
Task<Survey> survey(PoolState& pool, NodeId leaf = NodeId::none);

// The ranges of an inner node's children, by id.
std::vector<std::pair<NodeId, BlockRange>> children_of(const Node& node);

}  // namespace lamina
