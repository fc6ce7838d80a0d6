// SPDX-License-Identifier: Apache-2.0
// Several nodes read at once and taken in order, so that a cold merge or walk waits for the medium
// once in a while and not once a node.
// Thread-safety: one coroutine. Ownership: what is under way keeps its own state alive, but needs
//   the store: drain() before that goes.
#pragma once

#include <deque>
#include <memory>

#include "base/executor.h"
#include "engine/maps/node_store.h"

namespace lamina {

class ReadAhead {
 public:
  // How many reads of one merge are under way at most.
  static constexpr size_t depth = 16;

  ReadAhead(NodeStore& store, bool keep, size_t most = depth)
      : store_(store), keep_(keep), most_(most) {}

  bool full() const { return reads_.size() >= most_; }
  size_t size() const { return reads_.size(); }
  void start(NodeId id, const NodeEntry& entry);
  // The oldest that was started.
  Task<Result<NodeBlock>> take();
  // Waits for everything and forgets it.
  Task<void> drain();

 private:
  struct Read {
    Completion done;
    Result<NodeBlock> result{nullptr};
  };
  static Task<void> run(NodeStore& store, std::shared_ptr<Read> read, NodeId id, NodeEntry entry,
                        bool keep);

  NodeStore& store_;
  bool keep_;
  size_t most_;
  std::deque<std::shared_ptr<Read>> reads_;  // owners: this list, and run() until it has ended
};

}  // namespace lamina
