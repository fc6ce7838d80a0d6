// SPDX-License-Identifier: Apache-2.0
// Space that comes back: what is wholly dead is found by a walk over a committed checkpoint, and a
// segment is used again when the older retained checkpoint has found it dead, nobody holds an
// older image, and its stamp and discard are complete (A4).
// Thread-safety: all methods from any thread; one round at a time.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "base/task.h"
#include "base/waiters.h"
#include "engine/image.h"
#include "engine/space/move_plan.h"
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
  // What a round is to find out, besides what is worth finding out anyway: nothing; what is used,
  // for who waits for space; what each device has alone, for who looks; both, for who waits for
  // space that may be his own already; or that all data ages, for who has asked for that.
  enum class Wanted : uint8_t { nothing, used, figures, owners, aging };
  // It is known as of the newest checkpoint, whatever the counts said. Walks, unless somebody just
  // has. Errors: busy, a walk for figures alone was given up; io, the maps could not be read whole,
  // so that figures are as old as before.
  Task<Result<>> measure(Wanted wanted);
  // Moves all data down as far as there is room; it is published and durable when it returns.
  Task<Result<>> age_all();
  // One round, for who wants moving to go on: behind one that is under way.
  Task<Result<>> move_on();
  // Runs `work` while nothing is being moved and no space is coming back.
  Task<Result<>> alone(std::function<Task<Result<>>()> work);
  // A batch that somebody has planned himself, of the image that it is given; more than once, where
  // a failure is survived. Takes its turn with all that is moved. Where it was made it is published
  // with the next checkpoint (Checkpointer::has_moves). Errors: those of the planner; busy, the
  // walk was given up, since space is short.
  struct PlannedMove {
    std::function<Task<Result<MovePlan>>(ImagePtr)> plan;
    // Out: the segments that have the data now; or that there were not enough free for it.
    std::vector<Generation> filled;
    bool refused = false;
  };
  Task<Result<>> move_planned(PlannedMove& move);
  // Whether there is something to be moved now that users do not wait for.
  bool would_move() const;
  // Until `claim` may take a segment, or it is certain that it may not (no_space).
  Task<Result<>> make_room(Claim claim);
  // Whether somebody is in there.
  bool users_wait() const;
  // Free segments of files are allocated and written ahead of the log, so that its flushes do not
  // pay for the host file system's journal. Runs until enough are.
  Task<void> prepare_ahead();

  // Whether space is short and another checkpoint would bring some back.
  bool more_to_gain() const;

  struct Moved {
    bool now = false;           // it is at work
    uint64_t bytes = 0;         // payload copied, since the pool was opened
    uint64_t victims = 0;       // segments emptied
    uint64_t gained = 0;        // segments, less those of the same tier that were filled
    uint64_t aged = 0;          // bytes of payload that went to a lower tier,
    uint64_t evacuated = 0;     // or out of a blob that was being emptied,
    uint64_t defragmented = 0;  // or were brought into order,
    uint64_t promoted = 0;      // or went to a higher tier, since they are read often
    MovePolicy policy = MovePolicy::cleaning;  // of the newest batch
  };
  Moved moved() const;

 private:
  struct At {  // an image, without holding it
    CheckpointNumber content = 0;
    uint64_t dead_blocks = 0;
  };
  bool known(Wanted wanted, At image) const;
  Task<void> be_busy();
  Task<void> users_have_room();
  Task<bool> round_of_others(uint64_t released);
  std::vector<Segment> candidates(const Image& image) const;
  Task<Result<>> make_room_alone(Claim claim);
  Task<Result<>> take_round(Wanted wanted, PlannedMove* planned = nullptr);
  Task<Result<>> round(Wanted wanted, PlannedMove* planned);
  Task<Result<>> leave_pinned(ImagePtr image, const WalkResult& walked, MovePlan& plan);
  void count_bytes(Moved& moved, uint64_t bytes) const REQUIRES(mutex_);
  bool passes_over_snapshots(const MovePlan& plan, std::vector<Segment>& candidates,
                             const MoveNeed& need) const;
  void take_counts(const WalkResult& walked, const Image& image,
                   const std::vector<Segment>& candidates);
  void find_dead_nodes(const Image& image);
  bool any_leaving(const std::vector<Segment>& candidates) const;
  bool worth_walking(uint64_t hinted_dead) const;
  bool gain_pending() const;
  bool space_is_low() const;
  Task<Result<>> stamp_and_release(std::vector<Segment> dead);

  PoolState& pool_;
  mutable Mutex mutex_;
  bool busy_ GUARDED_BY(mutex_) = false;
  bool planned_ GUARDED_BY(mutex_) = false;  // by who is busy, for himself
  bool preparing_ GUARDED_BY(mutex_) = false;
  Moved moved_ GUARDED_BY(mutex_);             // batches that have ended
  bool goes_down_ GUARDED_BY(mutex_) = false;  // the newest batch
  uint32_t widened_ = 1;                       // of the round under way
  bool again_ = false;                         // it has found what another is to begin with
  size_t next_tier_ = 0;                       // whose turn it is
  uint64_t pins_counted_ = 0;                  // hash of the pins that Segment::pinned is of
  bool told_of_discards_ = false;              // that a disk makes none
  Waiters ended_ GUARDED_BY(mutex_);
  bool making_room_ GUARDED_BY(mutex_) = false;
  std::optional<Claim> refused_ GUARDED_BY(mutex_);  // what no room was found for the last time
  Waiters room_made_ GUARDED_BY(mutex_);
};

}  // namespace lamina
