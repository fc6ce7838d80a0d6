// SPDX-License-Identifier: Apache-2.0
// Defragmentation, a policy of the mover: which extents of a device are to be moved, so that what
// lies in many places comes to lie in order in few.
//
// A *run* is what of the device, in its order, also lies in order on the medium, in one segment
// and nearly without gaps. Long runs stay where they are: reading them costs next to nothing more
// than reading all in one. Short ones that follow each other are moved together, if they become
// fewer by that. So what a batch has put in order is not moved again, and the part of a device that
// was never scattered is only looked at.
// Thread-safety: one coroutine. Memory: the parts of one batch.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "engine/maps/extent.h"
#include "engine/space/moved_parts.h"

namespace lamina {

struct ScatterNeed {
  uint64_t long_run = 0;  // blocks
  uint64_t payload = 0;   // blocks of a segment that is filled
  // Of a batch: blocks, parts and segments, which all take memory.
  uint64_t most_blocks = 0, most_parts = 0, most_segments = 0;
};

class ScatteredRuns {
 public:
  explicit ScatteredRuns(const ScatterNeed& need) : need_(need) {}

  // The data of a device in one tier, in its order. `may_move`: else it stays, like a long run.
  // False: the batch is full before it; the next batch begins with it.
  bool add(const Extent& extent, bool may_move);
  // After the last of them: what is to be moved. Empty: nothing that was added.
  MovedParts take();

 private:
  bool continues_run(const Extent& extent, bool may_move) const;
  void end_run();
  void end_sequence();
  bool full() const;

  const ScatterNeed need_;
  using Parts = std::vector<MovedParts::Part>;
  // The run that goes on; its parts, while it is short.
  Parts run_;
  uint64_t run_blocks_ = 0;
  Address run_end_{};
  bool run_moves_ = false;
  // Short ones that follow each other.
  Parts sequence_;
  uint64_t sequence_blocks_ = 0, sequence_runs_ = 0;
  MovedParts chosen_;
  uint64_t chosen_blocks_ = 0;
  std::set<Generation> segments_;
};

}  // namespace lamina
