// SPDX-License-Identifier: Apache-2.0
#include "engine/space/scan_map.h"

#include <vector>

#include "engine/maps/tree.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

constexpr size_t extents_a_step = 4096;

}  // namespace

Task<Result<>> scan_map(PoolState& pool, const Image& image, NodeId root, DeviceBlock from,
                        std::function<bool(const Extent&)> visit) {
  const DeviceBlock end{max_device_bytes / block_size};
  std::vector<Extent> extents;
  for (bool more = root != NodeId::none; more;) {
    extents.clear();
    const BlockRange range{from, end};
    LAMINA_CO_TRY(co_await lookup(pool.nodes, image.nodes, root, range, extents, extents_a_step));
    more = extents.size() >= extents_a_step && extents.back().end < end;
    for (const Extent& extent : extents)
      if (!visit(extent)) co_return Result<>{};
    if (more) from = extents.back().end;
    co_await Yield{};
  }
  co_return Result<>{};
}

ImageMap map_in(const Image& image, MapId id) {
  for (const ImageMap& map : image.maps)
    if (map.map == id) return map;
  return {};
}

}  // namespace lamina
