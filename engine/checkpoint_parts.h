// SPDX-License-Identifier: Apache-2.0
// What one attempt at a checkpoint works on: what it covers, and what it makes of it.
// Thread-safety: one coroutine.
#pragma once

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "engine/checkpoint.h"
#include "engine/image.h"
#include "engine/log/log.h"
#include "engine/map_merges.h"
#include "engine/tables.h"

namespace lamina {

// What is copied under the order lock.
struct Checkpointer::Cut {
  LogPosition log;
  std::vector<MapStack> stacks;  // of `tables.devices`, in the same order
  PendingMoves moves;
  std::vector<ReshapedLeaf> reshaped;  // since the walk that they are of
  std::vector<NodeId> unreachable;
  CheckpointNumber unreachable_in = 0;
  Tables tables;
  int64_t tables_added = 0;  // of what is used, by this checkpoint, when the tables were made
};

// What merges change in the counts of segments, until it is true.
class ChangedCounts final : public LiveCounts {
 public:
  void data(Generation generation, int64_t blocks) override {
    changes_[raw(generation)].blocks += blocks;
  }
  void home(Generation generation, int64_t extents) override {
    changes_[raw(generation)].homes += extents;
  }
  void add_to(std::vector<Segment>& rows) const {
    for (Segment& s : rows) {
      const auto found = changes_.find(raw(s.name.generation));
      if (found == changes_.end()) continue;
      s.live_blocks += found->second.blocks;
      s.homes += found->second.homes;
    }
  }
  void add_to(LiveCounts& counts) const {
    for (const auto& [generation, change] : changes_) {
      counts.data(Generation{generation}, change.blocks);
      counts.home(Generation{generation}, change.homes);
    }
  }

 private:
  struct Change {
    int64_t blocks = 0, homes = 0;
  };
  std::unordered_map<uint32_t, Change> changes_;
};

// What the checkpoint makes: nothing of it is true before its slot.
struct Checkpointer::Made final : NodeSink {
  Made(PoolState& the_pool, Sequence cut, Epoch epoch, CheckpointNumber the_number,
       uint64_t the_next_node)
      : pool(the_pool),
        number(the_number),
        next_node(the_next_node),
        merges(the_pool, nodes, *this, counts, cut, epoch, the_number) {}

  NodeId allocate() override { return NodeId{next_node++}; }
  Task<Result<>> put(const Node& node, std::vector<NodeId> sources) override;
  void erase(NodeId id) override { nodes.erase(id); }

  PoolState& pool;
  const CheckpointNumber number;
  uint64_t next_node;
  NodeTable nodes;
  uint64_t nodes_put = 0;
  std::vector<ReshapedLeaf> reshaped;
  ChangedCounts counts;
  MapMerges merges;
  uint64_t left_behind = 0;  // blocks that copies keep where they were
  int64_t added_blocks() const { return merges.added_blocks() + static_cast<int64_t>(left_behind); }
  std::vector<ImageMap> maps;
};

// Both are bounds, so the sum may come to less than nothing.
inline uint64_t changed_by(uint64_t blocks, int64_t change) {
  return static_cast<uint64_t>(std::max<int64_t>(static_cast<int64_t>(blocks) + change, 0));
}

}  // namespace lamina
