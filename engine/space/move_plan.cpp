// SPDX-License-Identifier: Apache-2.0
#include "engine/space/move_plan.h"

#include <algorithm>

#include "engine/pool_state.h"
#include "engine/space/aging.h"
#include "engine/space/cleaning.h"
#include "engine/space/moved_layout.h"

namespace lamina {
namespace {

// Aging goes on a little past its mark, so that it is a batch now and then and not a trickle.
constexpr uint64_t batch_part = 32;  // of what the tier can store
constexpr uint64_t least_batch_blocks = 64 * mib / block_size;

// Where the blobs are that segments lie on, looked up once.
class Places {
 public:
  explicit Places(const Space& space) {
    for (const auto& blob : space.blobs())
      all_.push_back({blob->id(), space.tier_of(blob->id()), space.use_of(blob->id())});
  }
  bool is(const Segment& segment, size_t tier, BlobUse use) const {
    for (const Place& place : all_)
      if (place.blob == segment.name.blob) return place.tier == tier && place.use == use;
    return false;
  }

 private:
  struct Place {
    BlobId blob;
    size_t tier;
    BlobUse use;
  };
  std::vector<Place> all_;
};

std::vector<Segment> those_in(const PoolState& pool, const std::vector<Segment>& candidates,
                              const Places& places, size_t tier, BlobUse use) {
  std::vector<Segment> rows;
  for (const Segment& s : candidates)
    if (places.is(s, tier, use) && s.not_before <= pool.checkpointer.number()) rows.push_back(s);
  return rows;
}

MovePlan to_clean(PoolState& pool, const std::vector<Segment>& rows, const Places& places,
                  size_t tier, const MoveNeed& asked) {
  const Space& space = pool.space;
  // What is dead, or seems so, comes back by itself.
  const uint64_t free = space.available(Claim::user, tier), low_mark = space.low_mark(tier);
  uint64_t coming = free;
  for (const Segment& s : space.segments()) {
    if (!places.is(s, tier, BlobUse::serves)) continue;
    const bool seems_dead = s.kind != SegmentClass::nodes && s.live_blocks <= 0 && s.homes <= 0;
    if (s.use == SegmentUse::sealed && (s.dead_in != 0 || seems_dead)) ++coming;
  }
  if (coming >= low_mark) return {};
  CleaningNeed need{.layout = MovedLayout(space.segment_blocks(tier), asked.entry_bytes,
                                          space.moved_class(tier))};
  // Until there is enough again, and as many as their survivors fit what the mover may take.
  need.missing = (low_mark + div_up(low_mark, 2) - coming) * asked.widened;
  need.urgent = free == 0;
  need.targets = most_targets(space.available(Claim::mover, tier), need.urgent);
  need.newest = space.next_generation();
  return {MovePolicy::cleaning, tier, tier, choose_victims(rows, need), need.targets};
}

uint64_t room_in(const PoolState& pool, size_t tier, const MoveNeed& asked) {
  return pool.space.available(Claim::user, tier) * MovedLayout(pool.space.segment_blocks(tier),
                                                               asked.entry_bytes,
                                                               pool.space.moved_class(tier))
                                                       .payload();
}

// Everything, as far down as there is room.
MovePlan to_age_all(PoolState& pool, const std::vector<Segment>& rows, size_t tier,
                    const MoveNeed& asked) {
  const uint64_t most = pool.move_pace.most_blocks();
  for (size_t to = pool.space.tier_count() - 1; to > tier; --to) {
    AgingNeed need{.over = UINT64_MAX, .room = std::min(room_in(pool, to, asked), most)};
    MovePlan plan{MovePolicy::aging, tier, to, choose_oldest(rows, need),
                  pool.space.available(Claim::user, to)};
    if (!plan.empty()) return plan;
  }
  return {};
}

// The next tier that takes anything; none: the number of tiers.
size_t next_below(const Space& space, size_t tier) {
  size_t next = tier + 1;
  while (next < space.tier_count() && space.capacity_of(next) == 0) ++next;
  return next;
}

MovePlan to_evacuate(PoolState& pool, const std::vector<Segment>& rows, size_t tier,
                     const MoveNeed& asked) {
  const uint64_t most = pool.move_pace.most_blocks();
  for (const size_t to : ways_out(pool.space, tier)) {
    // Users go on meanwhile, so what brings more room when it is short is not used up.
    const uint64_t available = pool.space.available(Claim::user, to);
    const uint64_t kept = to == 0 ? pool.space.low_mark(to) / 2 : 0;
    const uint64_t targets = available - std::min(available, kept);
    const uint64_t payload =
        MovedLayout(pool.space.segment_blocks(to), asked.entry_bytes, pool.space.moved_class(to))
            .payload();
    const AgingNeed need{.over = UINT64_MAX, .room = std::min(targets * payload, most)};
    MovePlan plan{MovePolicy::evacuation, tier, to, choose_oldest(rows, need), targets};
    if (!plan.empty()) return plan;
  }
  return {};
}

MovePlan to_age(PoolState& pool, const std::vector<Segment>& rows, size_t tier,
                const MoveNeed& asked) {
  const Space& space = pool.space;
  const size_t to = next_below(space, tier);
  if (to == space.tier_count()) return {};
  const Settings::Aging policy = pool.aging_of(tier);
  const uint64_t capacity = space.capacity_of(tier);
  const auto most =
      static_cast<uint64_t>(static_cast<double>(capacity) * (100 - policy.keep_free_percent) / 100);
  const uint64_t live = space.live_in(tier);
  AgingNeed need;
  if (live > most) need.over = (live - most + capacity / batch_part) * asked.widened;
  need.idle_before = pool.written_before(policy.idle_ns);
  // Who begins to write meanwhile has room until the batch is through.
  const uint64_t free = space.available(Claim::user, tier) * space.segment_blocks(tier);
  need.room = std::min({room_in(pool, to, asked), pool.move_pace.most_blocks(),
                        std::max(free / 2, least_batch_blocks)});
  MovePlan plan{MovePolicy::aging, tier, to, choose_oldest(rows, need),
                space.available(Claim::user, to)};
  // D9: a pin is a preference, and nobody is refused for it.
  if (plan.empty() && space.available(Claim::user, tier) < space.low_mark(tier)) {
    need.past_pins = plan.past_pins = true;
    plan.victims = choose_oldest(rows, need);
  }
  return plan;
}

}  // namespace

std::vector<size_t> ways_out(const Space& space, size_t tier) {
  std::vector<size_t> ways;
  for (size_t to = tier; to < space.tier_count(); ++to) ways.push_back(to);
  for (size_t to = tier; to > 0; --to) ways.push_back(to - 1);
  return ways;
}

uint64_t room_upwards(const PoolState& pool, size_t to) {
  const Space& space = pool.space;
  if (pool.reclaimer.users_wait()) return 0;
  const double keep_free = pool.aging_of(to).keep_free_percent;
  const auto most =
      static_cast<uint64_t>(static_cast<double>(space.capacity_of(to)) * (100 - keep_free) / 100);
  const uint64_t live = space.live_in(to), low = space.low_mark(to);
  const uint64_t by_policy = (most - std::min(most, live)) / space.segment_blocks(to);
  const uint64_t available = space.available(Claim::user, to);
  return std::min(by_policy, (available - std::min(available, low)) / 2);
}

const char* policy_name(MovePolicy policy) {
  switch (policy) {
    case MovePolicy::cleaning:
      return "cleaning";
    case MovePolicy::aging:
      return "aging";
    case MovePolicy::evacuation:
      return "evacuation";
    case MovePolicy::defragmentation:
      return "defragmentation";
    case MovePolicy::pinning:
      return "pinning";
    case MovePolicy::promotion:
      return "promotion";
  }
  return "unknown";
}

MovePlan plan_moves(PoolState& pool, const std::vector<Segment>& candidates, const MoveNeed& need) {
  if (pool.checkpointer.has_moves()) return {};
  const size_t tiers = pool.space.tier_count();
  const Places places(pool.space);
  for (size_t tier = 0; tier < tiers; ++tier) {
    const auto rows = those_in(pool, candidates, places, tier, BlobUse::leaving);
    if (rows.empty()) continue;
    MovePlan plan = to_evacuate(pool, rows, tier, need);
    if (!plan.empty()) return plan;
  }
  for (size_t i = 0; i < tiers; ++i) {
    const size_t tier = (need.first_tier + i) % tiers;
    const auto rows = those_in(pool, candidates, places, tier, BlobUse::serves);
    if (need.age_all) {
      MovePlan plan = to_age_all(pool, rows, tier, need);
      if (!plan.empty()) return plan;
    } else if (tier + 1 < tiers) {
      MovePlan plan = to_age(pool, rows, tier, need);
      if (!plan.empty()) return plan;
    }
    MovePlan plan = to_clean(pool, rows, places, tier, need);
    if (!plan.empty()) return plan;
  }
  return {};
}

}  // namespace lamina
