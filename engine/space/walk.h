// SPDX-License-Identifier: Apache-2.0
// The walk: every distinct node of a committed checkpoint, once. It says what is live, what each
// map has alone, and, of the segments that somebody wants to empty, who refers to what is in them.
// An image cannot change, so the walk needs no lock and misses nothing (A7).
//
// Two halves (E6): the inner nodes level by level, in engine/space/reach.h, then the leaves in the
// order of place, read ahead, unpacked and marked by workers while the next are read. What users
// have in the cache of nodes is taken from it; nothing is put there.
//
// Whether a block is one map's alone is never taken from lineage: a leaf that several maps reach
// shares all that it refers to, and of others each block's referrers are compared. Maps that for
// certain share with nobody (last share 0, A9) are counted by the lengths of their extents.
//
// Memory: `memory_bytes` for marks; 20 bytes a node; and some MiB of leaves under way. Where marks
// of all segments would take more, the leaves of maps that may share are read several times, each
// time for other segments.
// Thread-safety: any number at a time; each holds its image.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <set>
#include <unordered_map>
#include <vector>

#include "base/task.h"
#include "base/workers.h"
#include "engine/image.h"
#include "engine/maps/node_store.h"
#include "engine/space/marks.h"
#include "engine/space/moved_parts.h"

namespace lamina {

// One extent of one leaf that keeps something in a wanted segment: its data, or its home. `map` is
// one of those that have the leaf.
struct Referrer {
  NodeId leaf = NodeId::none;
  MapId map = MapId::none;
  Extent extent;
};

// How far a walk is; anybody may look.
struct WalkProgress {
  std::atomic<uint64_t> done{0}, all{0};  // leaves; `all` grows where they are read again
};

struct WalkOptions {
  static constexpr uint64_t default_memory = 32 * mib;

  uint32_t segment_blocks = 0;              // no segment has more
  std::set<Generation> wanted;              // segments whose referrers are listed,
  std::shared_ptr<const MovedParts> parts;  // or, if not null, the parts of them whose are
  std::set<MapId> snapshots;  // maps that nobody writes to: what they alone have is told
  bool figures = true;        // whether to tell what each map has alone
  uint64_t memory_bytes = default_memory;
  Workers* workers = nullptr;  // null: everything where it is awaited
  WalkProgress* progress = nullptr;
  // Asked now and then; an error ends the walk with it.
  std::function<Result<>()> go_on = [] { return Result<>{}; };
};

struct WalkResult {
  using Live = Marks::Live;
  struct Share {
    MapId map = MapId::none;
    uint64_t mapped = 0;     // data blocks, each as often as the map has it
    uint64_t exclusive = 0;  // blocks that no other map refers to, each once
  };
  std::unordered_map<uint32_t, Live> live;  // by generation; what is not in it is dead
  uint64_t blocks = 0;                      // in all of it
  std::vector<Share> shares;                // of every map, if figures were asked for,
  SharedBlocks shared;                      // and which blocks of segments are shared
  std::vector<Referrer> referrers;          // leaf by leaf, in the order of place
  std::vector<NodeId> unreachable;          // in the table, but in no tree
  uint64_t nodes = 0, extents = 0, passes = 0;
};

// Error: a node could not be read; then nothing may be freed (A8). Or that of `go_on`.
Task<Result<WalkResult>> walk(NodeStore& nodes, ImagePtr image, WalkOptions options);

}  // namespace lamina
