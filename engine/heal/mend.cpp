// SPDX-License-Identifier: Apache-2.0
// Whoever meets a node that is lost gets it again from here, or hears why not.
#include <algorithm>
#include <map>
#include <string>

#include "engine/heal/healer.h"
#include "engine/heal/mend_inner.h"
#include "engine/heal/mend_leaf.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

constexpr uint64_t retry_ns = 60'000'000'000;  // what could not be made is not tried again before
constexpr uint64_t most_attempts = 8;          // where checkpoints change what is asked
constexpr uint64_t pause_ns = 20'000'000;      // after the first one; then longer

NodeBlock pack(Node node, const NodeEntry& entry) {
  node.header.checkpoint = entry.checkpoint;
  Buffer block(block_size);
  pack_node(node, block.span());
  return make_page(block.span());
}

}  // namespace

bool Healer::is_kept(NodeId id, const NodeEntry& entry) const {
  for (const ImagePtr& image : {pool_.newest_image(), pool_.older_image()})
    if (image)
      if (const NodeEntry* there = image->nodes.find(id); there && *there == entry) return true;
  return false;
}

// Where something is missing that a checkpoint has in hand, or it has made another image meanwhile,
// it is tried again a little later. Its end is not awaited: it may be the checkpoint that asks, or
// one that waits for whoever does.
Task<Result<NodeBlock>> Healer::mend(NodeId id, NodeEntry entry, Error why) {
  Executor& home = Executor::current();
  SwitchTo background{*pool_.settings.background};
  co_await background;
  Result<NodeBlock> made{nullptr};
  for (uint64_t attempt = 0; attempt < most_attempts; ++attempt) {
    Task<void> taking = take(mending_);
    co_await taking;
    Task<Result<NodeBlock>> mending = mend_alone(id, entry, why);
    made = co_await mending;
    give(mending_);
    if (made || made.error().code != Code::busy) break;
    const Sleep pause{(attempt + 1) * pause_ns};
    co_await pause;
  }
  if (!made && made.error().code == Code::busy) made.error().code = Code::io;
  SwitchTo back{home};
  co_await back;
  co_return made;
}

Task<Result<NodeBlock>> Healer::mend_alone(NodeId id, NodeEntry entry, Error why) {
  if (const auto failed = failed_before(id, entry)) co_return std::unexpected<Error>(*failed);
  if (!is_kept(id, entry)) co_return std::unexpected<Error>(std::move(why));
  const NodeRef node{id, entry.checkpoint};
  Task<Survey> surveying = survey_above(node, entry.level);
  Survey surveyed = co_await surveying;
  Result<NodePlace> place = surveyed.place_of(node);
  const ImagePtr newest = surveyed.images.front();
  const bool is_anywhere = place || !surveyed.lost.empty();  // else nothing is lost with it
  // With one above it, or with another that was asked for, it may have been made meanwhile.
  Task<Result<NodeBlock>> reading = pool_.nodes.get_as_it_is(id, entry);
  Result<NodeBlock> made = co_await reading;
  if (made) co_return made;
  Task<Result<NodeBlock>> making = make_again(std::move(surveyed), node, entry);
  made = co_await making;
  // What was asked may have changed under it.
  if (!made && pool_.newest_image() != newest) made.error().code = Code::busy;
  if (made) {
    pool_.settings.log(Settings::Severity::warning,
                       why.message + "; it has been made again from what is left");
    co_return made;
  }
  if (made.error().code == Code::busy) co_return made;
  Failed failed{entry, {}, MapId::none, why, pool_.settings.background->now_ns()};
  failed.why.message += "; it cannot be made again: " + made.error().message;
  if (made.error().code == Code::io) failed.why.code = Code::io;
  if (place) {
    failed.range = place->range;
    failed.map = place->maps.front();
    const bool merges_meet_it = place->is_newest && entry.level > 0;
    list_lost(node, *place, merges_meet_it && failed.why.code == Code::corrupt);
  }
  if (is_anywhere) pool_.settings.log(Settings::Severity::error, failed.why.message);
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

// Not long ago.
std::optional<Error> Healer::failed_before(NodeId id, const NodeEntry& entry) const {
  const uint64_t now_ns = pool_.settings.background->now_ns();
  Lock lock(mutex_);
  const auto found = failed_.find(id);
  if (found == failed_.end() || found->second.entry != entry) return std::nullopt;
  if (now_ns >= found->second.at_ns + retry_ns) return std::nullopt;
  return found->second.why;
}

// Where nobody knows of the node, one that is lost as well may: that is made first.
Task<Survey> Healer::survey_above(NodeRef node, uint32_t level) {
  for (std::set<NodeId> tried;;) {
    Task<Survey> surveying = survey(pool_, level == 0 ? node.id : NodeId::none);
    Survey surveyed = co_await surveying;
    if (surveyed.place_of(node)) co_return surveyed;
    const auto next = std::ranges::find_if(surveyed.lost, [&](const Survey::Lost& lost) {
      return !lost.temporary && !failed_before(lost.node.id, surveyed.entry(lost.node)) &&
             tried.insert(lost.node.id).second;
    });
    if (next == surveyed.lost.end()) co_return surveyed;
    const NodeRef above = next->node;
    const NodeEntry entry = surveyed.entry(above);
    if (level == 0) {  // it has been told of that leaf alone
      Task<Survey> whole = survey(pool_);
      surveyed = co_await whole;
    }
    Task<Result<NodeBlock>> making = make_again(std::move(surveyed), above, entry);
    const Result<NodeBlock> made = co_await making;
    static_cast<void>(made);  // who looks through it hears why not
  }
}

// With it, and before anybody sees it, whatever was made for it.
Task<Result<NodeBlock>> Healer::make_again(Survey surveyed, NodeRef node, NodeEntry entry) {
  MadeNodes made;
  const ImagePtr newest = surveyed.images.front();
  if (entry.level == 0) {
    Result<NodePlace> place = surveyed.place_of(node);
    if (!place) co_return forward_error(place);
    Task<Result<Node>> making = mend_leaf(pool_, entry, *place);
    Result<Node> leaf = co_await making;
    if (!leaf) co_return forward_error(leaf);
    leaf->header.id = node.id;
    made.nodes.push_back({entry, std::move(*leaf)});
  } else {
    Task<Result<MadeNodes>> making = mend_inner(pool_, std::move(surveyed), node);
    Result<MadeNodes> all = co_await making;
    if (!all) co_return forward_error(all);
    made = std::move(*all);
  }
  std::vector<std::pair<NodeId, NodeEntry>> in_use = made.adopted;
  for (const MadeNodes::One& one : made.nodes) in_use.emplace_back(one.node.header.id, one.entry);
  if (!pool_.checkpointer.keep_nodes(std::move(in_use), made.taken, *newest))
    co_return fail(Code::busy, "a checkpoint has what it needs in hand");
  NodeBlock block;
  for (MadeNodes::One& one : made.nodes) {
    const NodeId made_id = one.node.header.id;
    NodeBlock packed = pack(std::move(one.node), one.entry);
    pool_.nodes.keep_mended(one.entry, packed);
    note_node(made_id, one.entry);
    ++rebuilt_;
    if (one.entry.level > 0) take_changes_again(made_id);
    if (made_id == node.id && one.entry == entry) block = packed;
    Lock lock(mutex_);
    failed_.erase(made_id);
  }
  co_return block;
}

// For every device that has the node. Refused: what would be merged through it, and fail, and with
// it the checkpoint of all others.
void Healer::list_lost(NodeRef node, const NodePlace& place, bool refuse) {
  const std::vector<MapId>& maps = place.maps;
  const BlockRange range = place.range;
  std::vector<std::pair<MapId, BlockRange>> lost;
  {
    Lock order(pool_.log.order());
    pool_.devices.for_each([&](const DevicePtr& device) {
      const DeviceBlock end{div_up(device->size_bytes, block_size)};
      const BlockRange inside{range.begin, std::min(range.end, end)};
      const MapId map = device->map->id();
      if (std::ranges::find(maps, map) == maps.end()) return;
      if (refuse) device->map->refuse(node.id, range);
      if (inside.begin < inside.end) lost.emplace_back(map, inside);
    });
  }
  for (const auto& [map, where] : lost) pool_.report_unreadable(map, where);
}

void Healer::take_changes_again(NodeId id) {
  Lock order(pool_.log.order());
  pool_.devices.for_each([&](const DevicePtr& device) { device->map->take_again(id); });
}

NodeBlock Healer::lost_leaf(NodeId id, const Failed& failed) {
  Node node = Node::of(failed.map, id, 0, failed.range);
  Extent extent;
  extent.begin = failed.range.begin;
  extent.end = failed.range.end;
  extent.kind = ExtentKind::lost;
  node.extents.push_back(extent);
  pool_.settings.log(Settings::Severity::error,
                     "node " + std::to_string(raw(id)) +
                         " is needed, and lost: what was in it is EIO until it is written");
  return pack(std::move(node), failed.entry);
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
