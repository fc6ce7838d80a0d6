// SPDX-License-Identifier: Apache-2.0
// The mover: copies what is live in a set of segments to segments of class moved, so that the set
// is wholly dead at the next checkpoint; or a part of what is live in them, so that it lies in a
// better place. What it is to move, and into which tier, is a policy's to say
// (engine/space/move_plan.h).
//
// What must be durable before what:
//   - victims are settled and lie wholly below the cut of the walked image, so the walk's list of
//     referrers is complete (A5, A7), and no layer refers to them: layers hold what came after;
//   - targets and their summaries, both ends, are on the medium before the slot that publishes a
//     pointer into them (A15): the checkpoint flushes every disk before its slot;
//   - victims are freed by the walk alone, later (A4); a crash in between leaves orphans.
// Moving never changes a birth or a sequence number (A12), and carries checksums, never makes new
// ones (B6).
//
// An alias has two segments: the one that its data lies in, and its home, which states it (C2).
// When either is emptied the alias is stated anew, under its own number, with the place where its
// data is then, and the new statement is its home. So a home always names the place that the maps
// name, and a rebuild finds as many statements of one number as it was moved; the data's own entry
// goes with the data as ever, whether or not its origin has overwritten it since.
//
// What cleaning or an evacuation empties is read whole, as much at a time as memory may hold, and
// sorted so far; where nobody is at work, while what was read before it is copied.
// Aging sorts all of its batch, so that what was written at random comes to lie in order, and reads
// it block by block in that order where it is more than memory may hold: its source is the faster
// tier. So does defragmentation, in the order that its parts say.
// How fast it goes on beside users: engine/space/move_pace.h.
// Thread-safety: one at a time. Memory: twice 32 MiB of segments read, or a larger one, and two
// written; or some 120 bytes for each extent of what is sorted at once.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "base/task.h"
#include "engine/image.h"
#include "engine/maps/relocations.h"
#include "engine/space/carried_frames.h"
#include "engine/space/move_plan.h"
#include "engine/space/move_window.h"
#include "engine/space/moved_aliases.h"
#include "engine/space/moved_layout.h"
#include "engine/space/space.h"
#include "engine/space/victim.h"
#include "engine/space/walk.h"

namespace lamina {

class MovedWriter;
class PoolState;
class VictimGroup;

class Mover {
 public:
  // `last`: nothing newer is moved.
  Mover(PoolState& pool, Sequence last);

  MovePlan plan(const std::vector<Segment>& candidates, MoveNeed need) const;

  // As many of the victims as fit what may be taken of the target tier, the emptiest first, and the
  // right to what they fill again: a victim gains nothing until it is wholly empty, so none is
  // begun that may not be ended. By what a walk has found, which may be more than they were chosen
  // by: the hints know what has been overwritten since. Nothing: they would gain no segment.
  struct Batch {
    MovePlan plan;
    std::vector<Space::Permit> targets;
    uint64_t gain = 0;    // segments
    uint64_t blocks = 0;  // of payload, that are to be copied
  };
  std::optional<Batch> batch(const MovePlan& plan, const WalkResult& walked) const;

  // D1: whether the leaves that refer to them cost little enough, or users have no space left.
  bool pays(const Batch& batch, const WalkResult& walked) const;

  // The same of a plan that takes parts out: all of it, or nothing.
  std::optional<Batch> batch_of_parts(const MovePlan& plan, const WalkResult& walked) const;

  // Copies what the referrers keep alive in the victims, each block once however many of them share
  // it, and hands the changed pointers to the next checkpoint. The result is bytes of payload
  // moved: none, where it took more than was counted on, and the victims are left for a while. Of a
  // victim that cannot be read, or whose payload does not match, what is whole goes; the rest is
  // listed as lost and left where it is, the victim marked stuck (B6).
  Task<Result<uint64_t>> move(const Image& image, std::vector<Referrer> referrers, Batch batch);
  const std::vector<Generation>& filled() const { return filled_; }

 private:
  // What is stated without payload, and the leaves that have it.
  struct Fact {
    Entry entry;
    Generation home = Generation::none;
    std::vector<NodeId> leaves;
  };
  struct Moves {
    bool carries = false;  // frames that live whole as they are
    std::vector<CarriedFrame> frames;
    std::vector<MovedPiece> pieces;
    std::vector<Fact> facts;
  };

  using ByVictim = std::map<Generation, std::vector<const Referrer*>>;

  static ByVictim sort_by_victim(const std::vector<Referrer>& referrers);
  std::vector<std::set<Generation>> groups(const MovePlan& plan, const ByVictim& by_victim) const;
  Task<Result<std::vector<Generation>>> fill(const Image& image,
                                             const std::vector<Referrer>& referrers,
                                             const MovePlan& plan, MovedWriter& writer,
                                             Relocations& moved);
  bool fits_memory(size_t victims, size_t tier) const;
  bool reads_ahead(size_t tier) const;
  bool carries_frames(const MovePlan& plan) const;
  Task<Result<>> move_group(const Image& image, const ByVictim& by_victim, VictimGroup& group,
                            const MovePlan& plan, MovedWriter& writer, Relocations& moved,
                            MovedAliases& aliases);
  static Result<> add_parts(const Victim& victim, const MovedParts& parts, Moves& moves);
  static Result<> add_moves(const Image& image, const Victim& victim,
                            std::span<const Referrer* const> referrers, Moves& moves);
  Task<Result<>> copy_pieces(std::vector<MovedPiece> pieces, const Victims& victims,
                             MovedWriter& writer, Relocations& moved);
  Task<Result<>> copy_window(MoveWindow& window, MovedWriter& writer, Relocations& moved,
                             std::vector<MovedPiece>& failed);
  Task<Result<>> copy_blocks(std::vector<MovedPiece> pieces, const Victims& victims,
                             MovedWriter& writer, Relocations& moved);
  static Task<Result<>> state_facts(const std::vector<Fact>& facts, const Lineage& lineage,
                                    MovedWriter& writer, Relocations& moved);
  void leave(Generation victim, const std::string& why);
  void leave(const MovedPiece& piece);
  void report_bad(const std::vector<Referrer>& referrers) const;
  MovedLayout layout(size_t tier) const;

  PoolState& pool_;
  const size_t entry_bytes_;  // what a block takes of a summary at the most
  std::vector<Generation> filled_;
  std::set<Generation> left_;    // as they are, in part
  std::vector<MovedPiece> bad_;  // what of them cannot be moved
};

}  // namespace lamina
