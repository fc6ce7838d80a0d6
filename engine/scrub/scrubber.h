// SPDX-License-Identifier: Apache-2.0
// Scrubbing: everything that the pool has on its disks is read and compared with its checksums, in
// the background, beside users. Metadata of which a copy is bad is written anew, first of all
// (engine/heal/healer.h); data that is bad has no other copy, so whoever has it is listed as having
// lost it, and reads EIO as before.
//
// A pass goes over the segments that there were when it began, in the order in which they were
// written; what is written or moved meanwhile is younger than the pass. How far it is is part of
// each checkpoint, so after a restart it goes on from there. When it begins, what was listed as
// lost and can be read again, since it was overwritten or its disk is back, is listed no more.
// A pass, and each part of one, also lets zeroes go that hide nothing any more
// (engine/scrub/zeroes.h); where they cannot go, since something could not be read, it goes on.
// Thread-safety: all methods from any thread; run() in the background, one at a time. Durability:
// what it finds, with the next checkpoint.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "base/task.h"
#include "engine/medium_users.h"
#include "engine/pool.h"
#include "engine/space/move_pace.h"
#include "engine/space/moved_parts.h"
#include "engine/tables.h"

namespace lamina {

class PoolState;

class Scrubber {
 public:
  explicit Scrubber(PoolState& pool);

  // A pass, or what is left of the one that has been begun. The answer has come when
  // status().answered has reached what status().asked is now.
  void ask();
  // What is asked for ends after the segment under way, and is gone on with when asked again.
  void stop();
  bool wanted() const;
  // Answers what has been asked for so far.
  Task<void> run();

  // For checkpoints, and from the one that the pool was opened from.
  ScrubPosition position() const;
  void set_position(const ScrubPosition& position);
  ScrubStatus status() const;

 private:
  Task<Result<>> pass();
  Task<Result<>> let_zeroes_go();
  Task<Result<>> verify(Generation generation);
  Task<Result<>> list_bad(std::vector<MovedParts::Part> bad);
  Task<Result<>> forget_what_is_readable();
  std::vector<Segment> segments_left() const;
  void begin();
  Result<> go_on() const;

  PoolState& pool_;
  MovePace pace_;
  Generation next_home_{1};  // whose zeroes are to be looked at next
  mutable Mutex mutex_;
  ScrubPosition position_ GUARDED_BY(mutex_);
  ScrubStatus status_ GUARDED_BY(mutex_);
  uint64_t stopped_ GUARDED_BY(mutex_) = 0;  // whatever was asked for up to here
};

}  // namespace lamina
