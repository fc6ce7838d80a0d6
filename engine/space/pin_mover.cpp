// SPDX-License-Identifier: Apache-2.0
#include "engine/space/pin_mover.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/pool_state.h"
#include "engine/space/moved_layout.h"
#include "engine/space/scan_map.h"

namespace lamina {
namespace {

constexpr uint64_t pinned_bytes = 512 * mib;
constexpr uint64_t pinned_parts = uint64_t{1} << 17;
constexpr uint64_t pinned_segments = 4096;

}  // namespace

Task<Result<>> PinMover::settle() {
  const std::vector<Pin> pins = pins_of(pool_);
  const uint64_t hash = hash_of(pins);
  if (pins.empty()) co_return Result<>{};
  CheckpointNumber content = 0;
  for (bool more = true; more && !pool_.closing();) {
    if (pool_.checkpointer.has_moves()) LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
    content = pool_.newest_image()->content;
    {
      Lock lock(mutex_);
      if (settled_ == content && pins_ == hash) co_return Result<>{};
    }
    Reclaimer::PlannedMove move;
    move.plan = [this](ImagePtr image) { return plan(std::move(image)); };
    Task<Result<>> moving = pool_.reclaimer.move_planned(move);
    const Result<> moved = co_await moving;
    if (!moved && moved.error().code == Code::busy) co_return Result<>{};  // another time
    if (!moved) co_return moved;
    more = pool_.checkpointer.has_moves();
    if (!more) break;
    LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
    LAMINA_CO_TRY(co_await pool_.reclaimer.after_checkpoint());
  }
  Lock lock(mutex_);
  settled_ = content;
  pins_ = hash;
  co_return Result<>{};
}

Task<Result<MovePlan>> PinMover::plan(ImagePtr image) {
  for (const Pin& pin : pins_of(pool_)) {
    Task<Result<MovePlan>> planning = plan_for(image, pin);
    auto made = co_await planning;
    if (!made || !made->empty()) co_return made;
  }
  co_return MovePlan{};
}

uint64_t PinMover::room(size_t from, size_t to) const {
  const Space& space = pool_.space;
  if (pool_.reclaimer.users_wait()) return 0;
  return to > from ? space.available(Claim::user, to) : room_upwards(pool_, to);
}

// The first of what lies in the wrong tier, from one such tier.
Task<Result<MovePlan>> PinMover::plan_for(ImagePtr image, Pin pin) {
  const Space& space = pool_.space;
  std::unordered_map<uint32_t, size_t> movable;  // by generation, the tier
  for (const Segment& s : space.segments())
    if (s.holds_data() && s.use == SegmentUse::sealed && s.settled_before(image->cut) &&
        s.dead_in == 0 && space.tier_of(s.name.blob) != pin.tier)
      movable[raw(s.name.generation)] = space.tier_of(s.name.blob);
  MovePlan plan;
  if (movable.empty()) co_return plan;
  const MovedLayout layout(space.segment_blocks(pin.tier), MovedLayout::most_entry_bytes,
                           space.moved_class(pin.tier));
  std::vector<uint64_t> most(space.tier_count());
  for (size_t from = 0; from < most.size(); ++from) {
    const uint64_t segments = room(from, pin.tier);
    const uint64_t of_data = segments > 1 ? segments - 1 : segments;  // the last is for aliases
    most[from] = std::min(pinned_bytes / block_size, of_data * layout.payload());
  }
  MovedParts parts;
  std::set<Generation> segments;
  uint64_t blocks = 0;
  plan.from = most.size();
  std::function<bool(const Extent&)> visit = [&](const Extent& extent) {
    if (extent.kind != ExtentKind::data) return true;
    const auto at = movable.find(raw(extent.address.generation));
    if (at == movable.end() || most[at->second] < extent.length().value) return true;
    if (plan.from == most.size()) plan.from = at->second;
    if (at->second != plan.from) return true;
    if (blocks + extent.length().value > most[plan.from] || parts.count() >= pinned_parts ||
        segments.size() >= pinned_segments)
      return false;
    parts.add({extent.address, static_cast<uint32_t>(extent.length().value), extent.begin.value});
    blocks += extent.length().value;
    segments.insert(extent.address.generation);
    return true;
  };
  Task<Result<>> scanning =
      scan_map(pool_, *image, map_in(*image, pin.map).root, {}, std::move(visit));
  LAMINA_CO_TRY(co_await scanning);
  if (parts.empty()) co_return plan;
  parts.finish();
  plan.policy = MovePolicy::pinning;
  plan.to = pin.tier;
  plan.victims = std::move(segments);
  plan.targets = space.available(Claim::user, pin.tier);
  plan.parts = std::make_shared<const MovedParts>(std::move(parts));
  co_return plan;
}

}  // namespace lamina
