// SPDX-License-Identifier: Apache-2.0
// What the mover is to do next: which segments are to be emptied, or what of them is to be taken
// out, and in which tier their data is to lie. Each policy is a pure choice: over rows of segments,
// cleaning.h and aging.h; over the extents of a device, scattered_runs.h. Evacuation, of a blob
// that is leaving, is aging of all that is in it: to other blobs of its tier, or the next that has
// room. Thread-safety: plan_moves() from any thread; a plan is a plain value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "engine/space/moved_parts.h"
#include "engine/space/space.h"

namespace lamina {

class PoolState;

enum class MovePolicy : uint8_t {
  cleaning,
  aging,
  evacuation,
  defragmentation,
  pinning,
  promotion
};
const char* policy_name(MovePolicy policy);

struct MovePlan {
  MovePolicy policy = MovePolicy::cleaning;
  size_t from = 0, to = 0;  // tiers
  std::set<Generation> victims;
  uint64_t targets = 0;  // segments that may be filled
  // What of the victims is moved; null: everything.
  std::shared_ptr<const MovedParts> parts = nullptr;
  bool past_pins = false;  // what is pinned ages too
  bool empty() const { return victims.empty(); }
  // Who asks for the segments that are filled: what stays in its tier is the mover's own work.
  Claim claim() const { return gains_in_place() ? Claim::mover : Claim::user; }
  // What it fills is taken of what it makes free.
  bool gains_in_place() const { return policy == MovePolicy::cleaning; }
};

// Asked in turn, so that a tier that cannot gain does not keep others from it: begins with that
// tier. `widened`: so many times as many victims, since fewer would not pay (D1). `entry_bytes`:
// what a block takes of a summary at the most. Empty: there is nothing to do, or the batch before
// is not published yet.
struct MoveNeed {
  bool age_all = false;  // somebody wants all data to be in the last tier that has room
  size_t first_tier = 0;
  uint32_t widened = 1;
  size_t entry_bytes = 0;
};
// Tiers that what is on a blob of that tier may go to when it leaves, in the order of preference:
// other blobs of its own, those below, those above.
std::vector<size_t> ways_out(const Space& space, size_t tier);
// Segments of a tier that what comes up to it may fill: what would age right away had better stay
// below; nor is a tier filled for it (D9).
uint64_t room_upwards(const PoolState& pool, size_t to);
MovePlan plan_moves(PoolState& pool, const std::vector<Segment>& candidates, const MoveNeed& need);

}  // namespace lamina
