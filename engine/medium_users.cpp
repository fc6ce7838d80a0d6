// SPDX-License-Identifier: Apache-2.0
#include "engine/medium_users.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "engine/maps/tree.h"
#include "engine/pool_state.h"
#include "engine/space/walk.h"

namespace lamina {
namespace {

// Between two attempts at what users' need of space has interrupted.
constexpr uint64_t users_pause_ns = 100'000'000;

// The ranges of an extent of data whose blocks lie in the parts.
std::vector<BlockRange> within(const Extent& extent, const MovedParts& parts) {
  std::vector<BlockRange> out;
  if (extent.kind != ExtentKind::data) return out;
  for (const MovedParts::Part& part : parts.of(extent.address.generation)) {
    const uint64_t begin = std::max(extent.address.block, part.from.block);
    const uint64_t end = std::min(extent.address.block + extent.length().value,
                                  uint64_t{part.from.block} + part.blocks);
    if (begin >= end) continue;
    const DeviceBlock first = extent.begin + BlockCount{begin - extent.address.block};
    if (!out.empty() && out.back().end == first)
      out.back().end = first + BlockCount{end - begin};
    else
      out.push_back({first, first + BlockCount{end - begin}});
  }
  return out;
}

}  // namespace

Task<Result<>> find_medium_users(PoolState& pool, ImagePtr image,
                                 std::shared_ptr<const MovedParts> parts,
                                 std::function<void(const MediumUser&)> visit) {
  WalkOptions options;
  options.segment_blocks = pool.space.largest_address_blocks();
  options.wanted = parts->segments();
  options.parts = parts;
  options.figures = false;
  options.workers = pool.settings.workers;
  options.go_on = [&pool]() -> Result<> {
    if (pool.closing() || pool.reclaimer.users_wait())
      return fail(Code::busy, "the pool closes, or its users wait for space");
    return {};
  };
  Task<Result<WalkResult>> walking = walk(pool.nodes, image, std::move(options));
  auto walked = co_await walking;
  if (!walked) co_return forward_error(walked);
  // Leaves that several maps have name one of them: where such a block is, all are asked.
  std::set<std::pair<DeviceBlock, DeviceBlock>> ranges;
  for (const Referrer& referrer : walked->referrers)
    for (const BlockRange& range : within(referrer.extent, *parts))
      ranges.emplace(range.begin, range.end);
  std::vector<Extent> extents;
  for (const ImageMap& map : image->maps) {
    if (map.root == NodeId::none) continue;
    for (const auto& [begin, end] : ranges) {
      extents.clear();
      const BlockRange range{begin, end};
      LAMINA_CO_TRY(co_await lookup(pool.nodes, image->nodes, map.root, range, extents));
      for (const Extent& extent : extents)
        for (const BlockRange& part : within(extent, *parts)) visit({map.map, part, extent.alias});
    }
  }
  co_return Result<>{};
}

Task<Result<std::vector<MediumUser>>> all_medium_users(PoolState& pool,
                                                       std::vector<MovedParts::Part> places,
                                                       std::function<Result<>()> go_on) {
  MovedParts parts;
  for (const MovedParts::Part& part : places) parts.add(part);
  parts.finish();
  const auto shared = std::make_shared<const MovedParts>(std::move(parts));
  for (;;) {
    std::vector<MediumUser> users;
    Task<Result<>> finding =
        find_medium_users(pool, pool.newest_image(), shared,
                          [&users](const MediumUser& user) { users.push_back(user); });
    Result<> found = co_await finding;
    if (found) co_return users;
    if (found.error().code != Code::busy) co_return forward_error(found);
    Result<> going_on = go_on();
    if (!going_on) co_return forward_error(going_on);
    const Sleep pause{users_pause_ns};
    co_await pause;
  }
}

}  // namespace lamina
