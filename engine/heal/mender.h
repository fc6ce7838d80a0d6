// SPDX-License-Identifier: Apache-2.0
// Nodes of which no copy is left, made again as they were.
//
// A leaf: what do summaries and records say of its range, up to the image's cut, of a map that has
// it (B2)? They are asked of the segments that the image may refer to, so what is found is alive:
// what the mover filled counts once it was published at that cut, what the image found dead does
// not. The node table knows how many blocks of data were in the leaf; where that is not what is
// found, nothing is. An inner node: its children are those of the nodes of the level below that no
// readable node has, if they tile its range in one way (B8), and all of them can be read, so that
// none of those that are left over in the table, until a walk finds them unreachable, can be in
// another's place. Else leaves are compared with what summaries and records say, and those that say
// the same are taken.
//
// What is made has no birth, so every device copies it before it changes it, which is always right.
// Rebuilding makes references out of summaries (A8): what a leaf of the newest image refers to is
// shared anew (Space::share_if_alive), so that no walk of an image without the leaf frees it.
//
// Thread-safety: any number at a time. Memory: what is said of one range, and a summary.
// Errors: corrupt, it cannot be told; io.
#pragma once

#include <unordered_set>
#include <vector>

#include "base/task.h"
#include "engine/image.h"
#include "engine/maps/node.h"
#include "engine/rebuild_scan.h"

namespace lamina {

class PoolState;

// Where a node hangs in an image.
struct NodePlace {
  std::vector<MapId> maps;           // that have it, at least one
  BlockRange range;                  // that it answers for
  std::unordered_set<NodeId> taken;  // of an inner node's level: the children of the others
  bool all_seen = true;              // no other inner node is lost
};
Task<Result<NodePlace>> find_place(PoolState& pool, ImagePtr image, NodeId id, uint32_t level);

// Everything that segments say of a range that a map can see at the image's cut.
Task<Result<Scan>> scan_range(PoolState& pool, ImagePtr image, MapId map, BlockRange range);

Task<Result<Node>> mend_leaf(PoolState& pool, ImagePtr image, NodeEntry entry, NodePlace place);
Task<Result<Node>> mend_inner(PoolState& pool, ImagePtr image, NodeEntry entry, NodePlace place);

}  // namespace lamina
