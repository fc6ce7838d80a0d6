// SPDX-License-Identifier: Apache-2.0
// Cleaning, the mover's first policy: which segments to empty so that whole ones become free.
//
// What is gained is what is dead in a segment; what it costs is reading it and writing what is live
// somewhere else. A young segment goes on dying by itself, so its dead part is worth less today
// than that of an old one, which stays as it is: benefit / cost = (1 - u) * age / (1 + u), u the
// live part (Rosenblum and Ousterhout, 1992). The age is how many segments have been begun since.
// So segments of what is seldom written are emptied while they are fairly full, and those that are
// overwritten all the time are left until they are nearly empty, which is what keeps both apart.
// Where users have to wait for space age does not count: what gains most for the room there is
// comes first. Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "engine/space/moved_layout.h"
#include "engine/space/space.h"

namespace lamina {

// What is to be emptied together, and how many segments it fills again.
class CleaningBatch {
 public:
  explicit CleaningBatch(const MovedLayout& layout) : layout_(layout) {}
  // A block takes payload, and an entry at the most; a fact takes an entry alone, where data leaves
  // room for one, or else in a segment of facts.
  void add(const Segment& victim);
  uint64_t targets() const;
  // The part of one target that it would fill; more than 1 where it fills several.
  double fill() const;

 private:
  MovedLayout layout_;
  uint64_t live_ = 0, facts_ = 0;
};

struct CleaningNeed {
  uint64_t missing = 0;  // segments that are to be gained
  uint64_t targets = 0;  // that may be filled
  bool urgent = false;   // users have none left
  Generation newest{};   // begun so far
  MovedLayout layout;
};

// Of the candidates those to be emptied now. Empty: they would gain no segment.
std::set<Generation> choose_victims(const std::vector<Segment>& candidates,
                                    const CleaningNeed& need);

// D1: whether the nodes that have to be written again because of it, both copies of so many leaves,
// cost at most half of what it gains.
bool pays(uint64_t segments_gained, uint64_t leaves, uint32_t segment_blocks);

}  // namespace lamina
