// SPDX-License-Identifier: Apache-2.0
#include "engine/space/mover.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>

#include "base/check.h"
#include "engine/pool_state.h"
#include "engine/space/moved_layout.h"
#include "engine/space/moved_writer.h"
#include "engine/space/victim.h"

namespace lamina {
namespace {

constexpr int64_t worth_percent = 92;        // a fuller segment gains too little
constexpr uint64_t victim_bytes = 64 * mib;  // of victims held in memory at a time

}  // namespace

// What is chosen so far, and how many targets it fills. A block takes payload, and an entry at the
// most; a fact takes an entry alone.
class Mover::Batch {
 public:
  explicit Batch(uint32_t segment_blocks)
      : payload_(moved_payload_blocks(segment_blocks)),
        entries_(moved_summary_entries(segment_blocks)) {}

  void add(const Segment& s) {
    live_ += static_cast<uint64_t>(std::max<int64_t>(0, s.live_blocks));
    facts_ += static_cast<uint64_t>(std::max<int64_t>(0, s.homes));
  }
  uint64_t targets() const {
    return std::max(div_up(live_, payload_), div_up(live_ + facts_, entries_));
  }

 private:
  uint64_t payload_, entries_;
  uint64_t live_ = 0, facts_ = 0;
};

std::set<Generation> Mover::choose(const std::vector<Segment>& candidates) const {
  std::set<Generation> victims;
  Space& space = pool_.space;
  // What is dead, or seems so, comes back by itself.
  uint64_t coming = space.available(Claim::user);
  for (const Segment& s : space.segments())
    if (s.use == SegmentUse::sealed && (s.dead_in != 0 || (s.live_blocks <= 0 && s.homes <= 0)))
      ++coming;
  if (coming >= space.low_mark()) return victims;
  if (pool_.checkpointer.has_swaps()) return victims;  // the batch before is not published yet
  std::vector<Segment> order = candidates;
  std::sort(order.begin(), order.end(), [](const Segment& a, const Segment& b) {
    return a.live_blocks + a.homes < b.live_blocks + b.homes;
  });
  // Until there is enough again, and as many as their survivors fit what the mover may take.
  const uint64_t wanted = space.low_mark() + space.low_mark() / 4;
  const uint64_t missing = wanted - coming;
  const uint64_t limit = space.available(Claim::mover);
  Batch chosen(space.segment_blocks());
  for (const Segment& s : order) {
    if (s.live_blocks <= 0 && s.homes <= 0) continue;  // dead: the walk sees to it
    if (s.live_blocks * 100 > int64_t{moved_payload_blocks(space.segment_blocks())} * worth_percent)
      break;
    Batch more = chosen;
    more.add(s);
    if (more.targets() > limit) break;
    chosen = more;
    victims.insert(s.name.generation);
    if (victims.size() >= missing + chosen.targets()) break;
  }
  // What gains no segment would go on for ever.
  if (victims.size() <= chosen.targets()) victims.clear();
  return victims;
}

// The victims in groups that memory may hold.
std::vector<std::set<Generation>> Mover::groups(const std::set<Generation>& victims) const {
  const uint64_t segment = uint64_t{pool_.space.segment_blocks()} * block_size;
  const uint64_t at_once = std::max<uint64_t>(1, victim_bytes / segment);
  std::vector<std::set<Generation>> groups;
  for (const Generation victim : victims) {
    if (groups.empty() || groups.back().size() == at_once) groups.emplace_back();
    groups.back().insert(victim);
  }
  return groups;
}

Task<Result<uint64_t>> Mover::move(std::vector<Referrer> referrers,
                                   const std::set<Generation>& victims) {
  // Neighbours of one map come to lie side by side.
  std::stable_sort(referrers.begin(), referrers.end(), [](const Referrer& a, const Referrer& b) {
    return std::pair(a.map, a.extent.begin) < std::pair(b.map, b.extent.begin);
  });
  const Epoch epoch = pool_.identity.epoch;  // before anything is written (A19)
  MovedWriter writer(pool_);
  std::map<MapId, std::vector<Swap>> changes;
  for (const std::set<Generation>& group : groups(victims)) {
    auto moved = co_await move_group(referrers, group, writer, changes);
    if (moved) continue;
    if (moved.error().code != Code::no_space) {
      writer.give_up();
      co_return forward_error(moved);
    }
    break;  // what has been moved is gained; the rest stays where it is
  }
  auto targets = co_await writer.finish();
  if (!targets) {
    writer.give_up();
    co_return forward_error(targets);
  }
  PendingSwaps swaps;
  swaps.epoch = epoch;
  swaps.targets = std::move(*targets);
  for (auto& [map, list] : changes) {
    std::sort(list.begin(), list.end(),
              [](const Swap& a, const Swap& b) { return a.range.begin < b.range.begin; });
    swaps.maps.emplace_back(map, std::move(list));
  }
  if (!swaps.empty()) pool_.checkpointer.add_swaps(std::move(swaps));
  co_return writer.moved_bytes();
}

Task<Result<>> Mover::move_group(const std::vector<Referrer>& referrers,
                                 const std::set<Generation>& group, MovedWriter& writer,
                                 std::map<MapId, std::vector<Swap>>& changes) {
  std::map<Generation, std::unique_ptr<Victim>> loaded;
  auto give_up = [&](Generation generation, const Error& why) {
    pool_.space.mark_stuck(generation);
    pool_.settings.log(Settings::Severity::warning, "a segment cannot be emptied: " + why.message);
    loaded.erase(generation);
  };
  for (const Generation generation : group) {
    auto victim = co_await Victim::load(pool_, generation);
    if (victim)
      loaded.emplace(generation, std::move(*victim));
    else
      give_up(generation, victim.error());
  }
  for (const Referrer& referrer : referrers) {
    const Extent& extent = referrer.extent;
    const bool data = extent.kind == ExtentKind::data;
    const auto found = loaded.find(data ? extent.address.generation : extent.home);
    if (found == loaded.end()) continue;
    auto pieces = found->second->pieces(referrer);
    if (!pieces) {
      give_up(found->first, pieces.error());
      continue;
    }
    for (const Victim::Piece& piece : *pieces) {
      auto placed = co_await writer.append(piece);
      if (!placed) co_return forward_error(placed);
      auto& list = changes[referrer.map];
      list.insert(list.end(), placed->begin(), placed->end());
    }
  }
  co_return Result<>{};
}

}  // namespace lamina
