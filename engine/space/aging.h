// SPDX-License-Identifier: Apache-2.0
// Aging, a policy of the mover: which segments of a tier are to lie in the next one. The log makes
// it trivial: the oldest segment is the coldest. What is rewritten again and again is in new ones
// all the time; what is read again and again gets a second chance. Before all that goes what is
// mostly held by snapshots alone, read-only ones and those that nobody has written to since they
// were made: few will read there.
// Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "engine/space/space.h"

namespace lamina {

struct AgingNeed {
  uint64_t over = 0;         // live blocks that are more than the tier is to hold
  Sequence idle_before = 0;  // whatever is not newer than this is to go, however much room there is
  uint64_t room = 0;         // blocks that the next tier may take; one segment is tried with any
  bool past_pins = false;    // pinned data ages as any other (D9)
};

// How old the newest data in it may be.
Sequence age_of(const Segment& segment);
// Whether so much of it has been read lately that it had better stay.
bool read_again(const Segment& segment);

// Whether at least half of its data is only in snapshots.
bool of_snapshots(const Segment& segment);

// The data of pinned devices stays, and a segment that has nothing else is not chosen.
// What snapshots hold first, then the oldest, until `over` are gone, and all that is idle, as far
// as there is room.
std::set<Generation> choose_oldest(const std::vector<Segment>& candidates, const AgingNeed& need);

}  // namespace lamina
