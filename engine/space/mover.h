// SPDX-License-Identifier: Apache-2.0
// The mover: copies what is live in a set of segments to segments of class moved, so that the set
// is wholly dead at the next checkpoint. Cleaning is its first policy (engine/space/cleaning.h).
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
// Thread-safety: one at a time. Memory: 64 MiB of segments read, or one, and one written.
#pragma once

#include <optional>
#include <set>
#include <span>
#include <vector>

#include "base/task.h"
#include "engine/image.h"
#include "engine/maps/relocations.h"
#include "engine/space/moved_layout.h"
#include "engine/space/space.h"
#include "engine/space/victim.h"
#include "engine/space/walk.h"

namespace lamina {

class MovedWriter;
class PoolState;

class Mover {
 public:
  // `last`: nothing newer is moved.
  Mover(PoolState& pool, Sequence last);

  // Which of the candidates are worth emptying now; none where there is space enough. `widened`: so
  // many times as many, since fewer would not pay (D1).
  std::set<Generation> choose(const std::vector<Segment>& candidates, uint32_t widened) const;

  // As many of them as fit what the mover may take, the emptiest first, and the right to what they
  // fill again: a victim gains nothing until it is wholly empty, so none is begun that may not be
  // ended. By what a walk has found, which may be more than they were chosen by: the hints know
  // what has been overwritten since. Nothing: they would gain no segment.
  struct Batch {
    std::set<Generation> victims;
    std::vector<Space::Permit> targets;
    uint64_t gain = 0;  // segments
  };
  std::optional<Batch> batch(const std::set<Generation>& chosen, const WalkResult& walked) const;

  // D1: whether the leaves that refer to them cost little enough, or users have no space left.
  bool pays(const Batch& batch, const WalkResult& walked) const;

  // Copies what the referrers keep alive in the victims, each block once however many of them share
  // it, and hands the changed pointers to the next checkpoint. The result is bytes of payload
  // moved: none, where it took more than was counted on, and the victims are left for a while. A
  // victim that cannot be read, or whose payload does not match, is left where it is, marked stuck.
  Task<Result<uint64_t>> move(const Image& image, std::vector<Referrer> referrers, Batch batch);
  uint64_t targets() const { return targets_; }  // segments that it has filled

 private:
  class Aliases;
  // A piece that is to be copied; of a fact, the leaves that have it.
  struct Move {
    Victim::Piece piece;
    std::vector<NodeId> leaves;
  };
  Task<Result<std::vector<Generation>>> fill(const Image& image,
                                             const std::vector<Referrer>& referrers,
                                             const std::set<Generation>& victims,
                                             MovedWriter& writer, Relocations& moved);
  std::vector<std::set<Generation>> groups(const std::set<Generation>& victims) const;
  Task<Result<>> move_group(const Image& image, const std::vector<Referrer>& referrers,
                            const std::set<Generation>& group, MovedWriter& writer,
                            Relocations& moved, Aliases& aliases);
  static Result<std::vector<Move>> moves_of(const Image& image, const Victim& victim,
                                            std::span<const Referrer* const> referrers);
  Task<Result<>> find_aliases(const Image& image, const Victim& victim,
                              std::span<const Referrer* const> referrers, Aliases& aliases);
  static Task<Result<>> restate(const Aliases& aliases, MovedWriter& writer, Relocations& moved);
  MovedLayout layout() const;
  Task<void> rest(uint64_t worked_ns) const;

  PoolState& pool_;
  const uint64_t low_mark_;   // of the space, when it began
  const size_t entry_bytes_;  // what a block takes of a summary at the most
  uint64_t targets_ = 0;
};

}  // namespace lamina
