// SPDX-License-Identifier: Apache-2.0
// The walk: every distinct node of a committed checkpoint, once. It says what is live, and, of the
// segments that somebody wants to empty, who refers to what is in them. An image cannot change, so
// the walk needs no lock and misses nothing (A7).
// Thread-safety: any number at a time; each holds its image.
#pragma once

#include <set>
#include <unordered_map>
#include <vector>

#include "base/task.h"
#include "engine/image.h"
#include "engine/maps/node_store.h"

namespace lamina {

// One extent of one leaf that keeps something in a wanted segment: its data, or its home. `map` is
// one of those that have the leaf.
struct Referrer {
  NodeId leaf = NodeId::none;
  MapId map = MapId::none;
  Extent extent;
};

struct WalkResult {
  struct Live {
    uint64_t blocks = 0, homes = 0;  // blocks that several leaves refer to count once
  };
  std::unordered_map<uint32_t, Live> live;  // by generation; what is not in it is dead
  uint64_t blocks = 0;                      // in all of it
  std::vector<Referrer> referrers;          // leaf by leaf, in the order of place
  std::vector<NodeId> unreachable;          // in the table, but in no tree
  uint64_t nodes = 0, extents = 0;
};

// Error: a node could not be read; then nothing may be freed (A8).
Task<Result<WalkResult>> walk(NodeStore& nodes, const ImagePtr& image,
                              const std::set<Generation>& wanted);

}  // namespace lamina
