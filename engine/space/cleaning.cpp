// SPDX-License-Identifier: Apache-2.0
#include "engine/space/cleaning.h"

#include <algorithm>
#include <utility>

#include "base/units.h"

namespace lamina {
namespace {

// A fuller segment gains too little, unless there is nothing else to gain.
constexpr double worth = 0.92, worth_if_urgent = 1;

struct Candidate {
  const Segment* segment;
  bool data;
  double benefit;  // for what it costs
};

std::vector<Candidate> ranked(const std::vector<Segment>& segments, const CleaningNeed& need,
                              bool by_age) {
  std::vector<Candidate> all;
  for (const Segment& s : segments) {
    if (s.live_blocks <= 0 && s.homes <= 0) continue;  // dead: the walk sees to it
    CleaningBatch alone(need.layout);
    alone.add(s);
    const double u = alone.fill();
    if (u > (need.urgent ? worth_if_urgent : worth)) continue;
    const double age = by_age ? 1.0 + raw(need.newest) - raw(s.name.generation) : 1;
    all.push_back({&s, s.live_blocks > 0, (1 - u) * age / (1 + u)});
  }
  // D6: facts alone cost next to nothing, whatever their age.
  std::stable_sort(all.begin(), all.end(), [](const Candidate& x, const Candidate& y) {
    return x.data != y.data ? y.data : x.benefit > y.benefit;
  });
  return all;
}

std::set<Generation> best(const std::vector<Segment>& segments, const CleaningNeed& need,
                          bool by_age) {
  std::set<Generation> victims;
  CleaningBatch chosen(need.layout);
  for (const Candidate& candidate : ranked(segments, need, by_age)) {
    CleaningBatch more = chosen;
    more.add(*candidate.segment);
    if (more.targets() > need.targets) break;
    chosen = more;
    victims.insert(candidate.segment->name.generation);
    if (victims.size() >= need.missing + chosen.targets()) break;
  }
  // What gains no segment would go on for ever.
  if (victims.size() <= chosen.targets()) victims.clear();
  return victims;
}

}  // namespace

void CleaningBatch::add(const Segment& victim) {
  live_ += victim.live_room();
  facts_ += static_cast<uint64_t>(std::max<int64_t>(0, victim.homes));
}

uint64_t CleaningBatch::targets() const {
  // The writer puts facts into the last segment of data only.
  const uint64_t of_data = div_up(live_, layout_.payload());
  const uint64_t last = live_ - (of_data == 0 ? 0 : of_data - 1) * layout_.payload();
  const uint64_t room = of_data == 0 ? 0 : layout_.facts_beside(last);
  return of_data + (facts_ > room ? div_up(facts_ - room, layout_.facts_alone()) : 0);
}

double CleaningBatch::fill() const {
  return static_cast<double>(live_) / static_cast<double>(layout_.payload()) +
         static_cast<double>(facts_) / static_cast<double>(layout_.facts_alone());
}

std::set<Generation> choose_victims(const std::vector<Segment>& candidates,
                                    const CleaningNeed& need) {
  if (!need.urgent)
    if (auto victims = best(candidates, need, true); !victims.empty()) return victims;
  return best(candidates, need, false);
}

bool pays(uint64_t segments_gained, uint64_t leaves, uint32_t segment_blocks) {
  return 2 * leaves * 2 <= segments_gained * segment_blocks;
}

}  // namespace lamina
