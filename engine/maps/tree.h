// SPDX-License-Identifier: Apache-2.0
// A map's copy-on-write B+tree: look-up, iteration, and the merge that a checkpoint makes. Between
// checkpoints nodes never change, so readers need no lock on them: they hold a table (one
// checkpoint's) and a root.
// Thread-safety: look-ups from any thread; one merge at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/task.h"
#include "engine/maps/layer.h"
#include "engine/maps/node_store.h"
#include "engine/maps/node_table.h"

namespace lamina {

// The extents of the tree below `root` (none: empty) that overlap `range`, in order, clipped.
// try_lookup answers from the cache alone and never waits; false: something must be read, and
// `out` is as it was.
bool try_lookup(NodeStore& store, const NodeTable& table, NodeId root, BlockRange range,
                std::vector<Extent>& out);
// `limit`: stop after so many extents (for status, SEEK and `map`, that go on from there).
Task<Result<>> lookup(NodeStore& store, const NodeTable& table, NodeId root, BlockRange range,
                      std::vector<Extent>& out, size_t limit = SIZE_MAX);

// Which leaf of that tree, which is not empty, answers for `key`.
Task<Result<NodeId>> leaf_at(NodeStore& store, const NodeTable& table, NodeId root,
                             DeviceBlock key);

class Relocations;

// What a merge changed in the live blocks and homes of segments: counts to be added. Hints for
// choosing what to clean; freeing is the walk's alone.
class LiveCounts {
 public:
  virtual ~LiveCounts() = default;
  virtual void data(Generation generation, int64_t blocks) = 0;
  virtual void home(Generation generation, int64_t extents) = 0;
  // So many blocks an alias refers to, or does no longer. They are counted where they were written,
  // if that was ever merged; who else refers to them a walk alone knows.
  virtual void alias(Generation /*generation*/, int64_t /*blocks*/) {}
};

// Where a merge puts the nodes that it makes. Implemented by the checkpoint.
class NodeSink {
 public:
  virtual ~NodeSink() = default;
  virtual NodeId allocate() = 0;
  // Places both copies of `node` (header complete but for nothing) and enters it into the new
  // table. Waits only for memory. `sources`: the leaves that a leaf's extents were in before, as
  // far as no layer brought them; nothing for a node that only changes its place.
  virtual Task<Result<>> put(const Node& node, std::vector<NodeId> sources) = 0;
  virtual void erase(NodeId id) = 0;  // no longer part of any tree of this device
};

struct MergeInput {
  MapId map = MapId::none;
  NodeId root = NodeId::none;          // of the tree before; none = empty
  Sequence last_fork = 0;              // a node is rewritten under its own id iff its birth
                                       // is larger; any other is copied under a new id
  Sequence birth = 0;                  // of the nodes that this merge makes: the cut
  CheckpointNumber checkpoint = 0;     // the one that writes
  std::vector<const Layer*> changes;   // the oldest first
  const Relocations* moved = nullptr;  // applied to each leaf that is read, before the changes
  std::vector<BlockRange> also;        // rewritten even if nothing changes them: leaves that do
                                       // not fit a block with what has moved. In order
  size_t node_bytes = block_size;      // how much of a block may be used; less makes deeper trees
};

struct MergeOutput {
  NodeId root = NodeId::none;
  uint64_t mapped_blocks = 0;  // data blocks in the tree
  int64_t extents_change = 0;  // of the number of extents in the tree
  uint64_t nodes_written = 0;
  // Dropped unread (E4): extents_change and the counts do not know what they held.
  uint64_t subtrees_dropped = 0;
  // Nothing is left of the tree before, or there was none: extents_change counts from zero.
  bool from_empty = false;
};

// Merges in key order, each leaf once for all layers, reading ahead; memory is a few nodes a level.
// Zero extents over never-written ranges are dropped unless `certain` or reserved; a zero that
// covers a whole inner subtree drops it unread (E4), so its node ids stay in the table until a walk
// finds them unreachable. `table` may be the one that the sink edits. Error: a node could not be
// read, or the sink's; what the sink has got until then is void. `table` is the table before; nodes
// that the merge made are read back from `store`.
Task<Result<MergeOutput>> merge(NodeStore& store, const NodeTable& table, const MergeInput& input,
                                NodeSink& sink, LiveCounts& counts);

}  // namespace lamina
