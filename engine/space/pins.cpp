// SPDX-License-Identifier: Apache-2.0
#include "engine/space/pins.h"

#include <algorithm>
#include <functional>
#include <map>
#include <unordered_map>
#include <utility>

#include "engine/pool_state.h"
#include "engine/space/marks.h"
#include "engine/space/scan_map.h"

namespace lamina {
namespace {

using Ranges = std::vector<std::pair<uint32_t, uint32_t>>;  // of blocks: begin, end

// Sorted, and what overlaps or touches is one.
void unite(Ranges& ranges) {
  std::sort(ranges.begin(), ranges.end());
  Ranges united;
  for (const auto& range : ranges)
    if (!united.empty() && range.first <= united.back().second)
      united.back().second = std::max(united.back().second, range.second);
    else
      united.push_back(range);
  ranges = std::move(united);
}

// Visits the data of pinned devices that lies in their tier or below it.
Task<Result<>> visit_kept(PoolState& pool, const Image& image,
                          std::function<void(const Extent&)> visit) {
  std::unordered_map<uint32_t, size_t> tiers;
  for (const Segment& s : pool.space.segments())
    tiers[raw(s.name.generation)] = pool.space.tier_of(s.name.blob);
  for (const Pin& pin : pins_of(pool)) {
    std::function<bool(const Extent&)> each = [&](const Extent& extent) {
      if (extent.kind != ExtentKind::data) return true;
      const auto tier = tiers.find(raw(extent.address.generation));
      if (tier != tiers.end() && tier->second >= pin.tier) visit(extent);
      return true;
    };
    Task<Result<>> scanning =
        scan_map(pool, image, map_in(image, pin.map).root, {}, std::move(each));
    LAMINA_CO_TRY(co_await scanning);
  }
  co_return Result<>{};
}

}  // namespace

std::vector<Pin> pins_of(PoolState& pool) {
  std::vector<Pin> pins;
  if (pool.space.tier_count() == 1) return pins;
  Lock order(pool.log.order());
  pool.devices.for_each([&](const DevicePtr& device) {
    const auto pinned = device->xattrs.find(tier_attribute);
    if (pinned == device->xattrs.end()) return;
    for (const auto& blob : pool.blobs())
      if (blob->superblock().blob_name == pinned->second)
        pins.push_back({device->id, device->map->id(), pool.space.tier_of(blob->id())});
  });
  return pins;
}

uint64_t hash_of(const std::vector<Pin>& pins) {
  uint64_t hash = pins.size();
  for (const Pin& pin : pins)
    for (const uint64_t value : {raw(pin.device), raw(pin.map), uint64_t{pin.tier}})
      hash = (hash ^ value) * 0x9e3779b97f4a7c15;
  return hash;
}

Task<Result<>> count_pinned(PoolState& pool, ImagePtr image) {
  Marks marks(pool.space.largest_address_blocks(), WalkOptions::default_memory, 0, false);
  do {
    std::function<void(const Extent&)> visit = [&marks](const Extent& extent) {
      const Address at = extent.address;
      const auto end = at.block + static_cast<uint32_t>(extent.length().value);
      const Marks::Reference reference{at.generation, at.block, end};
      marks.add(Marks::stripe_of(at.generation), {&reference, 1});
    };
    Task<Result<>> visiting = visit_kept(pool, *image, std::move(visit));
    LAMINA_CO_TRY(co_await visiting);
    for (size_t stripe = 0; stripe < Marks::stripes; ++stripe) marks.end_pass(stripe);
  } while (marks.take_pass_left());
  std::unordered_map<uint32_t, uint64_t> blocks;
  for (const auto& [generation, live] : marks.live()) blocks[generation] = live.blocks;
  pool.space.set_pinned(blocks);
  co_return Result<>{};
}

Task<Result<MovedParts>> not_pinned(PoolState& pool, ImagePtr image, const WalkResult& walked,
                                    std::set<Generation> segments) {
  std::map<Generation, Ranges> kept, live;
  std::function<void(const Extent&)> visit = [&](const Extent& extent) {
    const Address at = extent.address;
    if (segments.contains(at.generation))
      kept[at.generation].emplace_back(at.block,
                                       at.block + static_cast<uint32_t>(extent.length().value));
  };
  Task<Result<>> visiting = visit_kept(pool, *image, std::move(visit));
  LAMINA_CO_TRY(co_await visiting);
  // In the order of the maps, which is how what ages is to lie.
  std::vector<const Referrer*> data;
  for (const Referrer& referrer : walked.referrers)
    if (referrer.extent.kind == ExtentKind::data &&
        segments.contains(referrer.extent.address.generation))
      data.push_back(&referrer);
  std::sort(data.begin(), data.end(), [](const Referrer* a, const Referrer* b) {
    return std::pair(a->map, a->extent.begin) < std::pair(b->map, b->extent.begin);
  });
  for (auto& [generation, ranges] : kept) unite(ranges);
  MovedParts parts;
  uint64_t order = 0;
  for (const Referrer* referrer : data) {
    const Address at = referrer->extent.address;
    uint32_t begin = at.block;
    const uint32_t end = begin + static_cast<uint32_t>(referrer->extent.length().value);
    for (const auto& [from, to] : kept[at.generation]) {
      if (to <= begin) continue;
      if (from >= end) break;
      if (begin < from) parts.add({{at.generation, begin}, from - begin, order + begin - at.block});
      begin = std::min(end, to);
    }
    if (begin < end) parts.add({{at.generation, begin}, end - begin, order + begin - at.block});
    order += end - at.block;
  }
  parts.finish();
  co_return parts;
}

}  // namespace lamina
