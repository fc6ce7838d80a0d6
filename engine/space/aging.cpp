// SPDX-License-Identifier: Apache-2.0
#include "engine/space/aging.h"

#include <algorithm>
#include <tuple>

namespace lamina {
namespace {

constexpr uint64_t read_part = 4;  // of its live blocks, read since: it gets a second chance

// Blocks, and facts, which stay where something pinned does.
uint64_t may_age(const Segment& s, const AgingNeed& need) {
  const auto live = static_cast<uint64_t>(std::max<int64_t>(0, s.live_blocks));
  if (s.pinned > 0 && !need.past_pins) return live - std::min(live, s.pinned);
  return live + static_cast<uint64_t>(std::max<int64_t>(0, s.homes));
}

}  // namespace

// A segment of the log is settled by its newest entry; what was moved has kept its numbers.
Sequence age_of(const Segment& segment) {
  return segment.kind == SegmentClass::log || segment.oldest == 0 ? segment.settled
                                                                  : segment.oldest;
}

bool read_again(const Segment& segment) {
  return segment.reads > 0 && segment.reads * read_part >=
                                  static_cast<uint64_t>(std::max<int64_t>(0, segment.live_blocks));
}

bool of_snapshots(const Segment& segment) {
  return segment.of_snapshots > 0 &&
         2 * segment.of_snapshots >=
             static_cast<uint64_t>(std::max<int64_t>(0, segment.live_blocks));
}

std::set<Generation> choose_oldest(const std::vector<Segment>& candidates, const AgingNeed& need) {
  std::vector<const Segment*> oldest;
  for (const Segment& s : candidates)
    if (may_age(s, need) > 0) oldest.push_back(&s);  // the dead: the walk sees to it
  std::stable_sort(oldest.begin(), oldest.end(), [](const Segment* a, const Segment* b) {
    return std::tuple(!of_snapshots(*a), read_again(*a), age_of(*a)) <
           std::tuple(!of_snapshots(*b), read_again(*b), age_of(*b));
  });
  std::set<Generation> victims;
  uint64_t chosen = 0;
  for (const Segment* s : oldest) {
    const bool idle = age_of(*s) <= need.idle_before && !read_again(*s);
    if (!idle && chosen >= need.over) continue;
    const uint64_t blocks = may_age(*s, need);
    if (need.room == 0 || (!victims.empty() && chosen + blocks > need.room)) break;
    chosen += blocks;
    victims.insert(s->name.generation);
  }
  return victims;
}

}  // namespace lamina
