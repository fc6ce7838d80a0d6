// SPDX-License-Identifier: Apache-2.0
#include "engine/space/promoter.h"

#include <algorithm>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>

#include "engine/maps/tree.h"
#include "engine/pool_state.h"
#include "engine/space/moved_layout.h"
#include "engine/space/pins.h"
#include "engine/space/scan_map.h"

namespace lamina {
namespace {

constexpr uint64_t promotion_bytes = 64 * mib;
constexpr size_t batch_ranges = 2048;

}  // namespace

// What is put together, from one tier for the one above it.
struct Promoter::Batch {
  std::unordered_map<uint32_t, size_t> movable;  // by generation, the tier
  std::vector<uint64_t> most;                    // blocks, by the tier they come from
  size_t from = 0;
  uint64_t blocks = 0;
  MovedParts parts;
  std::set<Generation> segments;
  bool passed_over = false;  // something, for another batch

  // False: it is full.
  bool add(const Extent& extent) {
    if (extent.kind != ExtentKind::data) return true;
    const auto at = movable.find(raw(extent.address.generation));
    if (at == movable.end()) return true;
    if (parts.empty()) from = at->second;
    passed_over = passed_over || at->second != from;
    if (at->second != from) return true;
    const uint64_t more = extent.length().value;
    if (blocks + more > most[from]) return false;
    parts.add({extent.address, static_cast<uint32_t>(more), blocks});
    blocks += more;
    segments.insert(extent.address.generation);
    return true;
  }
};

void Promoter::note_read(MapId map, DeviceBlock begin, Generation generation, uint64_t blocks) {
  const auto at = pool_.space.find(generation);
  if (at && pool_.space.tier_of(at->blob) > 0) counts_.note(map, begin, blocks);
}

Task<Result<>> Promoter::settle() {
  if (!pool_.settings.promote) co_return Result<>{};
  const uint64_t now = pool_.settings.background->now_ns();
  if (halved_ns_ == 0) halved_ns_ = now;
  if (now - halved_ns_ >= pool_.aging_of(0).idle_ns) {
    halved_ns_ = now;
    counts_.forget_half();
  }
  while (!pool_.closing() && !counts_.often().empty()) {
    if (pool_.checkpointer.has_moves()) LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
    std::vector<ReadCounts::Range> taken;
    Reclaimer::PlannedMove move;
    move.plan = [this, &taken](ImagePtr image) { return plan(std::move(image), taken); };
    Task<Result<>> moving = pool_.reclaimer.move_planned(move);
    const Result<> moved = co_await moving;
    if (!moved && moved.error().code == Code::busy) co_return Result<>{};  // another time
    if (!moved) co_return moved;
    if (!pool_.checkpointer.has_moves()) co_return Result<>{};
    for (const ReadCounts::Range& range : taken) counts_.forget(range);
    const uint64_t at_most =
        std::min<uint64_t>(pool_.space.segment_blocks(), taken.size() * ReadCounts::range_blocks);
    for (const Generation filled : move.filled) pool_.space.note_read(filled, at_most);
    LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
    LAMINA_CO_TRY(co_await pool_.reclaimer.after_checkpoint());
  }
  co_return Result<>{};
}

Task<Result<MovePlan>> Promoter::plan(ImagePtr image, std::vector<ReadCounts::Range>& taken) {
  const Space& space = pool_.space;
  Batch batch;
  batch.most.resize(space.tier_count());
  for (size_t from = 1; from < batch.most.size(); ++from) {
    const MovedLayout layout(space.segment_blocks(from - 1), MovedLayout::most_entry_bytes,
                             space.moved_class(from - 1));
    const uint64_t segments = room_upwards(pool_, from - 1);
    // The last one is for aliases.
    batch.most[from] =
        std::min(promotion_bytes / block_size, (segments > 1 ? segments - 1 : 0) * layout.payload());
  }
  for (const Segment& s : space.segments())
    if (s.holds_data() && s.use == SegmentUse::sealed && s.settled_before(image->cut) &&
        s.dead_in == 0 && s.pinned == 0 && space.tier_of(s.name.blob) > 0)
      batch.movable[raw(s.name.generation)] = space.tier_of(s.name.blob);
  std::set<MapId> pinned;
  for (const Pin& pin : pins_of(pool_)) pinned.insert(pin.map);
  taken.clear();
  bool full = batch.movable.empty();
  for (const ReadCounts::Range& range : counts_.often()) {
    if (full || taken.size() == batch_ranges) break;
    batch.passed_over = false;
    std::vector<Extent> extents;
    if (const NodeId root = map_in(*image, range.map).root;
        root != NodeId::none && !pinned.contains(range.map))
      LAMINA_CO_TRY(co_await lookup(pool_.nodes, image->nodes, root, range.blocks(), extents));
    for (const Extent& extent : extents) full = full || !batch.add(extent);
    if (!full && !batch.passed_over) taken.push_back(range);
    co_await Yield{};
  }
  MovePlan plan;
  if (batch.parts.empty()) co_return plan;
  batch.parts.finish();
  plan.policy = MovePolicy::promotion;
  plan.from = batch.from;
  plan.to = batch.from - 1;
  plan.victims = std::move(batch.segments);
  plan.targets = space.available(Claim::user, plan.to);
  plan.parts = std::make_shared<const MovedParts>(std::move(batch.parts));
  co_return plan;
}

}  // namespace lamina
