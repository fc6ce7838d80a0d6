// SPDX-License-Identifier: Apache-2.0
#include "engine/space/mover.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>

#include "base/check.h"
#include "engine/pool_state.h"
#include "engine/space/moved_writer.h"
#include "engine/space/victim.h"

namespace lamina {
namespace {

constexpr uint64_t low_part = 4;         // cleaning begins below this part of the pool free
constexpr uint64_t batch_segments = 8;   // victims of one batch
constexpr uint64_t worth_percent = 92;   // a fuller segment gains too little

}  // namespace

std::set<Generation> Mover::choose(const std::vector<Segment>& candidates) const {
  std::set<Generation> victims;
  Space& space = pool_.space;
  if (space.available(Claim::user) * low_part >= space.total()) return victims;
  if (pool_.checkpointer.has_swaps()) return victims;  // the batch before is not published yet
  std::vector<Segment> order = candidates;
  std::sort(order.begin(), order.end(), [](const Segment& a, const Segment& b) {
    return a.live_blocks + a.homes < b.live_blocks + b.homes;
  });
  // As many as their survivors fit what the mover may take, and memory may hold.
  const uint64_t targets = std::min<uint64_t>(space.available(Claim::mover), batch_segments);
  const uint64_t limit = targets * space.segment_blocks() * worth_percent / 100;
  uint64_t survivors = 0;
  for (const Segment& s : order) {
    const auto live = static_cast<uint64_t>(std::max<int64_t>(0, s.live_blocks + s.homes));
    if (live == 0) continue;  // dead: the walk sees to it
    if (live * 100 > uint64_t{space.segment_blocks()} * worth_percent) break;
    if (survivors + live > limit || victims.size() >= 4 * batch_segments) break;
    survivors += live;
    victims.insert(s.name.generation);
  }
  return victims;
}

Task<Result<uint64_t>> Mover::move(std::vector<Referrer> referrers,
                                   const std::set<Generation>& victims) {
  // Neighbours of one map come to lie side by side.
  std::stable_sort(referrers.begin(), referrers.end(), [](const Referrer& a, const Referrer& b) {
    return std::pair(a.map, a.extent.begin) < std::pair(b.map, b.extent.begin);
  });
  std::map<Generation, std::unique_ptr<Victim>> loaded;
  for (const Generation generation : victims) {
    auto victim = co_await Victim::load(pool_, generation);
    if (!victim) {
      pool_.space.mark_stuck(generation);
      pool_.settings.log(Settings::Severity::warning,
                         "a segment cannot be emptied: " + victim.error().message);
      continue;
    }
    loaded.emplace(generation, std::move(*victim));
  }
  MovedWriter writer(pool_);
  PendingSwaps swaps;
  for (const Referrer& referrer : referrers) {
    const Extent& extent = referrer.extent;
    const bool data = extent.kind == ExtentKind::data;
    const auto found = loaded.find(data ? extent.address.generation : extent.home);
    if (found == loaded.end()) continue;
    auto pieces = found->second->pieces(referrer);
    if (!pieces) {
      pool_.space.mark_stuck(found->first);
      pool_.settings.log(Settings::Severity::warning,
                         "a segment cannot be emptied: " + pieces.error().message);
      loaded.erase(found);
      continue;
    }
    if (swaps.maps.empty() || swaps.maps.back().first != referrer.map)
      swaps.maps.emplace_back(referrer.map, std::vector<Swap>{});
    for (const Victim::Piece& piece : *pieces) {
      auto placed = co_await writer.append(piece);
      if (!placed) co_return forward_error(placed);
      for (Swap& swap : *placed) swaps.maps.back().second.push_back(swap);
    }
  }
  auto targets = co_await writer.finish();
  if (!targets) co_return forward_error(targets);
  swaps.targets = std::move(*targets);
  const uint64_t bytes = writer.moved_bytes();
  if (!swaps.empty()) pool_.checkpointer.add_swaps(std::move(swaps));
  co_return bytes;
}

}  // namespace lamina
