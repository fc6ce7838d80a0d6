// SPDX-License-Identifier: Apache-2.0
// The merges that one checkpoint makes of all maps: layers into trees, each shared layer once.
//
// Maps that were forked from each other have the oldest of their layers in common, and the tree
// below. What they share is merged for all of them, into nodes that are born when the last shared
// layer was closed. Every one of the sharers diverged from another living one then or later, so to
// none of them such a node's birth is larger than its last fork (F1), and what each has alone goes
// over copies. Layers that one map alone has are merged in one go. So no node is written twice, and
// no two contents have one id and one version (B3).
//
// What the mover has moved is changed in every leaf that is read; leaves that no merge has read are
// written again afterwards, under their own ids, once for all who share them (A12). One that has no
// room for what has moved cannot be: where it has to follow all the same, since its blob is to be
// empty, the trees that have it are merged there, each into leaves of its own.
//
// Thread-safety: one checkpoint.
#pragma once

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "base/task.h"
#include "engine/maps/relocations.h"
#include "engine/thin_map.h"

namespace lamina {

class PoolState;

struct MergeWork {
  MapId map = MapId::none;
  Sequence last_fork = 0, last_share = 0;
  MapStack stack;
};

// A leaf that refers to something that was moved, and the map that it was found in.
struct MovedLeaf {
  NodeId leaf = NodeId::none;
  MapId map = MapId::none;
};

// A leaf that has been given what others had.
struct ReshapedLeaf {
  MovedLeaf leaf;
  std::vector<NodeId> sources;  // the others
};

class MapMerges {
 public:
  // `table` is the one that `sink` edits; `counts` are of what lives in the segments. Nothing of it
  // is worth anything once the epoch is over: then the merges end (A19).
  MapMerges(PoolState& pool, const NodeTable& table, NodeSink& sink, LiveCounts& counts,
            Sequence cut, Epoch epoch, CheckpointNumber number)
      : pool_(pool),
        table_(table),
        sink_(sink),
        counts_(counts),
        cut_(cut),
        epoch_(epoch),
        number_(number) {}

  // `all_follow`: so do leaves that are too full, and more than one map's. Some at a time: each of
  // those maps needs nodes of its own for it.
  Task<Result<>> run(std::vector<MergeWork> work, const Relocations& moved,
                     std::vector<MovedLeaf> leaves, bool all_follow = false);

  // What a map with that stack, up to the cut, has come to. Asserts that one was merged.
  ImageMap result(const MapStack& stack) const;
  // Data blocks that the merges put into trees, less those that are free for certain.
  int64_t added_blocks() const { return added_; }
  // How many extents more, or fewer, a map has of what was moved; of leaves that several maps have,
  // one is told.
  int64_t moved_extents(MapId map) const {
    const auto found = moved_extents_.find(map);
    return found == moved_extents_.end() ? 0 : found->second;
  }
  // Data blocks that were covered, but may be somebody else's.
  uint64_t maybe_dead_blocks() const { return maybe_dead_; }
  // Leaves that were too full for what had moved, and more than one map's: they are as they were,
  // and some map has them still.
  const std::vector<NodeId>& unmoved() const { return unmoved_; }

 private:
  class Counts;
  // Maps that have the first `done` layers, and the tree below, in common.
  struct Group {
    std::vector<size_t> members;
    size_t done = 0;
    ImageMap tree;
  };
  using Key = std::pair<NodeId, const ClosedLayer*>;
  static Key key_of(const MapStack& stack, size_t layers);

  std::vector<Group> by_tree() const;
  static void in_order(std::vector<Group>& groups);
  struct FullLeaf {
    NodeId id = NodeId::none;
    BlockRange range;
  };
  Task<Result<>> advance(Group group, std::vector<Group>& next);
  size_t in_common(const Group& group) const;
  Task<Result<ImageMap>> merge_layers(const Group& group, size_t until);
  Task<Result<Sequence>> birth_for(const Group& group, size_t until) const;
  Task<Result<std::vector<FullLeaf>>> find_reshaped(const std::vector<MovedLeaf>& leaves);
  Task<void> part(const std::vector<FullLeaf>& full);
  Task<Result<>> rewrite_moved(const std::vector<MovedLeaf>& leaves);

  PoolState& pool_;
  const NodeTable& table_;
  NodeSink& sink_;
  LiveCounts& counts_;
  const Sequence cut_;
  const Epoch epoch_;
  const CheckpointNumber number_;
  std::vector<MergeWork> work_;
  const Relocations* moved_ = nullptr;
  std::map<NodeId, std::vector<BlockRange>> also_;  // of the tree with that root, by place
  std::set<NodeId> parted_;  // leaves that no map has any more, since each has got its own
  std::map<Key, ImageMap> results_;
  std::map<MapId, int64_t> moved_extents_;
  int64_t added_ = 0;
  uint64_t maybe_dead_ = 0;
  std::vector<NodeId> unmoved_;
};

}  // namespace lamina
