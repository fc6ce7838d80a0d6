// SPDX-License-Identifier: Apache-2.0
// Whoever meets a node that is lost gets it again from here, or hears why not.
#include <algorithm>
#include <map>
#include <string>

#include "engine/heal/healer.h"
#include "engine/heal/mender.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

constexpr uint64_t retry_ns =
    60'000'000'000;  // what could not be made again is not tried again before

NodeBlock pack(Node node, NodeId id, const NodeEntry& entry) {
  node.header.id = id;
  node.header.checkpoint = entry.checkpoint;
  Buffer block(block_size);
  pack_node(node, block.span());
  return make_page(block.span());
}

}  // namespace

ImagePtr Healer::image_with(NodeId id, const NodeEntry& entry) const {
  for (ImagePtr image : {pool_.newest_image(), pool_.older_image()})
    if (image)
      if (const NodeEntry* there = image->nodes.find(id); there && *there == entry) return image;
  return nullptr;
}

Task<Result<NodeBlock>> Healer::mend(NodeId id, NodeEntry entry, Error why) {
  Executor& home = Executor::current();
  SwitchTo background{*pool_.settings.background};
  co_await background;
  Task<void> taking = take(mending_);
  co_await taking;
  Task<Result<NodeBlock>> mending = mend_alone(id, entry, std::move(why));
  Result<NodeBlock> made = co_await mending;
  give(mending_);
  SwitchTo back{home};
  co_await back;
  co_return made;
}

Task<Result<NodeBlock>> Healer::mend_alone(NodeId id, NodeEntry entry, Error why) {
  const uint64_t now_ns = pool_.settings.background->now_ns();
  {
    Lock lock(mutex_);
    const auto found = failed_.find(id);
    if (found != failed_.end() && found->second.entry == entry &&
        now_ns < found->second.at_ns + retry_ns)
      co_return std::unexpected<Error>(found->second.why);
  }
  const ImagePtr image = image_with(id, entry);
  if (!image) co_return std::unexpected<Error>(std::move(why));
  Task<Result<NodePlace>> finding = find_place(pool_, image, id, entry.level);
  Result<NodePlace> place = co_await finding;
  Result<Node> node = fail(Code::corrupt);
  if (place) {
    Task<Result<Node>> making = entry.level == 0 ? mend_leaf(pool_, image, entry, *place)
                                                 : mend_inner(pool_, image, entry, *place);
    node = co_await making;
  } else {
    node = forward_error(place);
  }
  if (node) {
    ++rebuilt_;
    pool_.settings.log(Settings::Severity::warning,
                       why.message + "; it has been made again from what is left");
    note_node(id, entry);
    co_return pack(std::move(*node), id, entry);
  }
  Failed failed{entry, {}, MapId::none, why, now_ns};
  failed.why.message += "; it cannot be made again: " + node.error().message;
  if (node.error().code == Code::io) failed.why.code = Code::io;
  if (place) {
    failed.range = place->range;
    failed.map = place->maps.front();
    list_lost(place->maps, place->range);
  }
  pool_.settings.log(Settings::Severity::error, failed.why.message);
  const Error error = failed.why;
  bool declares = false;
  if (error.code == Code::corrupt) {
    Lock lock(mutex_);
    declares = declaring_ && entry.level == 0 && place;
    if (!declares) failed_.insert_or_assign(id, failed);
  }
  if (declares) co_return lost_leaf(id, failed);
  co_return std::unexpected<Error>(error);
}

// For every device that has the node.
void Healer::list_lost(const std::vector<MapId>& maps, BlockRange range) {
  std::vector<std::pair<MapId, BlockRange>> lost;
  {
    Lock order(pool_.log.order());
    pool_.devices.for_each([&](const DevicePtr& device) {
      const DeviceBlock end{div_up(device->size_bytes, block_size)};
      const BlockRange inside{range.begin, std::min(range.end, end)};
      const MapId map = device->map->id();
      if (std::ranges::find(maps, map) != maps.end() && inside.begin < inside.end)
        lost.emplace_back(map, inside);
    });
  }
  for (const auto& [map, where] : lost) pool_.report_unreadable(map, where);
}

NodeBlock Healer::lost_leaf(NodeId id, const Failed& failed) {
  Node node;
  node.header.map = failed.map;
  node.header.begin = failed.range.begin;
  node.header.end = failed.range.end;
  Extent extent;
  extent.begin = failed.range.begin;
  extent.end = failed.range.end;
  extent.kind = ExtentKind::lost;
  node.extents.push_back(extent);
  pool_.settings.log(Settings::Severity::error,
                     "node " + std::to_string(raw(id)) +
                         " is needed, and lost: what was in it is EIO until it is written");
  return pack(std::move(node), id, failed.entry);
}

void Healer::declare_lost() {
  std::map<NodeId, Failed> failed;
  {
    Lock lock(mutex_);
    declaring_ = true;
    for (const auto& [id, one] : failed_)
      if (one.entry.level == 0 && one.map != MapId::none) failed.emplace(id, one);
    for (const auto& [id, one] : failed) failed_.erase(id);
  }
  for (const auto& [id, one] : failed) pool_.nodes.keep_mended(one.entry, lost_leaf(id, one));
}

void Healer::end_declaring() {
  Lock lock(mutex_);
  declaring_ = false;
}

}  // namespace lamina
