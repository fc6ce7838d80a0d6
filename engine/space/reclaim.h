// SPDX-License-Identifier: Apache-2.0
// Space that comes back: what is wholly dead is found by a walk over a committed checkpoint, and a
// segment is used again when the older retained checkpoint has found it dead, nobody holds an
// older image, and its stamp and discard are complete (A4).
// Thread-safety: all methods from any thread; one round at a time.
#pragma once

#include <vector>

#include "base/mutex.h"
#include "base/task.h"
#include "base/waiters.h"
#include "engine/image.h"
#include "engine/space/space.h"
#include "engine/space/walk.h"

namespace lamina {

class PoolState;

class Reclaimer {
 public:
  explicit Reclaimer(PoolState& pool) : pool_(pool) {}

  // Frees what may be freed now (A4); what was retired, at any time.
  Task<Result<>> free_dead();
  // After each committed checkpoint: frees what may be freed, then looks for more.
  Task<Result<>> after_checkpoint();
  // A walk of the newest checkpoint, which tells what is used, whatever the counts say.
  Task<Result<>> measure();
  // Until `claim` may take a segment, or it is certain that it may not (no_space).
  Task<Result<>> make_room(Claim claim);
  // Free segments of files are allocated and written ahead of the log, so that its flushes do not
  // pay for the host file system's journal. Runs until enough are.
  Task<void> prepare_ahead();

  // Whether space is short and another checkpoint would bring some back.
  bool more_to_gain() const;

  uint64_t walk_age_ns() const;  // since the newest complete walk; UINT64_MAX: none yet
  bool walk_complete() const;    // the newest one could read everything
  uint64_t moved_bytes() const;
  bool moving() const;

 private:
  Task<Result<>> take_round(bool always_walk);
  Task<Result<>> round(bool always_walk);
  void take_counts(const WalkResult& walked, const Image& image,
                   const std::vector<Segment>& candidates);
  void find_dead_nodes(const Image& image);
  bool worth_walking(uint64_t hinted_dead) const;
  bool gain_pending() const;
  Task<Result<>> stamp_and_release(std::vector<Segment> dead);

  PoolState& pool_;
  mutable Mutex mutex_;
  bool busy_ GUARDED_BY(mutex_) = false;
  bool preparing_ GUARDED_BY(mutex_) = false;
  bool moving_ GUARDED_BY(mutex_) = false;
  bool walk_complete_ GUARDED_BY(mutex_) = false;
  uint64_t walked_ns_ GUARDED_BY(mutex_) = 0;
  uint64_t moved_bytes_ GUARDED_BY(mutex_) = 0;
  Waiters ended_ GUARDED_BY(mutex_);
};

}  // namespace lamina
