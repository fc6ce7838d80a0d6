// SPDX-License-Identifier: Apache-2.0
// The nodes of the maps, and what the maps say.
#include "base/lanes.h"
#include "engine/check/checker.h"
#include "engine/maps/tree.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

constexpr size_t node_lanes = 16;
constexpr size_t extents_looked_at_once = 4096;

}  // namespace

Task<Result<>> Checker::check_nodes() {
  std::vector<std::pair<NodeId, bool>> all;  // the second: of K_old, where it differs there
  {
    const ImagePtr image = pool_.newest_image(), older = pool_.older_image();
    image->nodes.for_each([&](NodeId id, const NodeEntry&) { all.emplace_back(id, false); });
    if (older)
      older->nodes.for_each([&](NodeId id, const NodeEntry& entry) {
        const NodeEntry* const newer = image->nodes.find(id);
        if (!newer || *newer != entry) all.emplace_back(id, true);
      });
  }
  doing("nodes", all.size());
  Task<void> checking = in_lanes(all.size(), node_lanes, [&](size_t i) -> Task<void> {
    if (!go_on()) co_return;
    Task<void> one = check_node(all[i].first, all[i].second);
    co_await one;
  });
  co_await checking;
  co_return go_on();
}

Task<void> Checker::check_node(NodeId id, bool older) {
  const ImagePtr image = older ? pool_.older_image() : pool_.newest_image();
  const NodeEntry* const entry = image ? image->nodes.find(id) : nullptr;
  note(&CheckStatus::done);
  if (!entry) co_return;  // it is gone by now
  note(&CheckStatus::nodes);
  Task<std::array<Result<>, 2>> reading = pool_.nodes.check_copies(id, *entry);
  const std::array<Result<>, 2> copies = co_await reading;
  for (size_t i = 0; i < copies.size(); ++i)
    if (!copies[i])
      add({"B3", place(entry->copies[i]),
           "a copy of node " + std::to_string(raw(id)) + ": " + copies[i].error().message});
}

Task<Result<>> Checker::check_maps() {
  const std::vector<ImageMap> maps = pool_.newest_image()->maps;
  doing("maps", maps.size());
  Task<void> checking = in_lanes(maps.size(), node_lanes, [&](size_t i) -> Task<void> {
    if (!go_on()) co_return;
    Task<void> one = check_map(maps[i]);
    co_await one;
    note(&CheckStatus::done);
    note(&CheckStatus::devices);
  });
  co_await checking;
  co_return go_on();
}

// `map`: as the image had it when the list was made; each piece is of the one that is the newest.
Task<void> Checker::check_map(ImageMap map) {
  DeviceId device = DeviceId::none;
  {
    Lock order(pool_.log.order());
    if (const ThinMap* const of = pool_.devices.find_map(map.map)) device = of->device();
  }
  const auto where = [&](DeviceBlock begin, DeviceBlock end) {
    return in_device(device, BlockRange{begin, end});
  };
  DeviceBlock at{0};
  uint64_t mapped = 0;
  bool same = true;  // it is one map all the time
  for (bool more = true; more && go_on();) {
    const ImagePtr image = pool_.newest_image();
    const auto now = std::ranges::find(image->maps, map.map, &ImageMap::map);
    if (now == image->maps.end()) co_return;  // it is gone by now
    same = same && *now == map;
    std::vector<Extent> extents;
    const BlockRange rest{at, device_end};
    Task<Result<>> looking =
        lookup(pool_.nodes, image->nodes, now->root, rest, extents, extents_looked_at_once);
    const Result<> looked = co_await looking;
    if (!looked) {
      add({"B3", where(at, device_end), "its map cannot be read: " + looked.error().message});
      co_return;
    }
    more = extents.size() >= extents_looked_at_once;
    for (const Extent& extent : extents) {
      if (extent.begin < at || extent.end <= extent.begin)
        add({"F10", where(extent.begin, extent.end), "ranges of the map overlap or are empty"});
      at = extent.end;
      if (extent.kind == ExtentKind::lost) add({"B6", where(extent.begin, extent.end), "is lost"});
      if (extent.kind != ExtentKind::data || is_origin(extent.address)) continue;
      mapped += extent.length().value;
      const auto row = pool_.space.segment(extent.address.generation);
      const uint64_t end = extent.address.block + extent.length().value;
      if (!row)
        add({"A4", where(extent.begin, extent.end),
             "is mapped to generation " + std::to_string(raw(extent.address.generation)) +
                 ", which no segment has"});
      else if (end > pool_.space.largest_address_blocks())
        add({"A4", where(extent.begin, extent.end), "is mapped past the end of its segment"});
    }
    note(&CheckStatus::ranges, extents.size());
  }
  if (same && go_on() && mapped != map.mapped_blocks)
    add({"D2", where(DeviceBlock{0}, device_end),
         "counts " + std::to_string(map.mapped_blocks) + " blocks as mapped, but its map has " +
             std::to_string(mapped)});
}

}  // namespace lamina
