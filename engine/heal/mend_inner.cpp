// SPDX-License-Identifier: Apache-2.0
#include "engine/heal/mend_inner.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <ranges>
#include <string>

#include "engine/heal/inner_mender.h"
#include "engine/heal/same_content.h"
#include "engine/heal/scan_range.h"
#include "engine/repair/replay.h"

namespace lamina {
namespace {

std::unexpected<Error> cannot_tell(const std::string& why) {
  return fail(Code::corrupt, why);
}

// In how many ways they, which lie in the range, tile it, 2 for more than one; `out`: one of them.
int tile(const std::vector<NodeHeader>& nodes, BlockRange range, std::vector<Cover::Piece>& out) {
  std::map<DeviceBlock, std::pair<int, Cover::Piece>> ways{{range.end, {1, {}}}};
  std::multimap<DeviceBlock, NodeHeader> by_begin;
  for (const NodeHeader& node : nodes) by_begin.emplace(node.begin, node);
  for (auto at = by_begin.rbegin(); at != by_begin.rend(); ++at) {
    const NodeHeader& node = at->second;
    const auto behind = ways.find(node.end);
    if (behind == ways.end()) continue;
    auto& [count, piece] = ways[node.begin];
    count = std::min(2, count + behind->second.first);
    piece = {node.id, node.range(), node.mapped_blocks};
  }
  const auto found = ways.find(range.begin);
  if (found == ways.end()) return 0;
  out.clear();
  for (DeviceBlock at = range.begin; at < range.end; at = out.back().range.end)
    out.push_back(ways.at(at).second);
  return found->second.first;
}

}  // namespace

Task<Result<MadeNodes>> InnerMender::run(NodeRef wanted) {
  const auto ref_of = [](const Survey::Lost& lost) { return lost.node; };
  if (std::ranges::find(survey_.lost, wanted, ref_of) == survey_.lost.end())
    co_return cannot_tell("no map refers to it, or what does is lost as well");
  Task<Result<Part>> excluding = by_exclusion(wanted);
  Result<Part> part = co_await excluding;
  if (part) co_return std::move(part->result);
  Task<Result<MadeNodes>> making = all_at_once(wanted);
  co_return co_await making;
}

Task<Result<InnerMender::Part>> InnerMender::by_exclusion(NodeRef lost) {
  Result<NodePlace> place = survey_.place_of(lost);
  if (!place) co_return forward_error(place);
  // Of an older image what looks left over may have been made for the newest.
  if (!place->is_newest) co_return cannot_tell("its children could be several");
  const uint32_t level = entry(lost).level;
  for (const Survey::Lost& other : survey_.lost)
    if (other.node != lost && entry(other.node).level >= level)
      co_return cannot_tell("another one is lost as well");
  Task<void> looking = look_at_loose(place->image, level - 1);
  co_await looking;
  if (!loose(place->image, level - 1).lost.empty())
    co_return cannot_tell("its children could be several");
  Part part;
  part.lost = lost;
  part.place = *place;
  std::vector<NodeHeader> nodes;
  const auto take = [&nodes](const Node& node) { nodes.push_back(node.header); };
  Task<bool> visiting = for_each_that_may_serve(level - 1, part, take);
  const bool all = co_await visiting;
  std::vector<Cover::Piece> children;
  if (!all || tile(nodes, place->range, children) != 1)
    co_return cannot_tell("its children could be several");
  Node node = Node::of(place->maps.front(), lost.id, level, place->range);
  set_children(node, children);
  LAMINA_CO_TRY(expect_blocks(entry(lost), node.header.mapped_blocks));
  if (!fits(node)) co_return cannot_tell("it has too many children");
  part.result.nodes.push_back({entry(lost), std::move(node)});
  co_return part;
}

// All of the newest image, and the one that is wanted; the lowest first: the higher ones may have
// them. Where one of that image cannot be made it may refer to any of the ids that others took.
Task<Result<MadeNodes>> InnerMender::all_at_once(NodeRef wanted) {
  const Image& newest = *survey_.images.front();
  std::vector<Survey::Lost> lost = survey_.lost;
  std::erase_if(lost, [&](const Survey::Lost& one) {
    return one.node != wanted && !find_in(newest, one.node);
  });
  std::ranges::stable_sort(lost, {}, [&](const Survey::Lost& one) {
    return std::pair(!find_in(newest, one.node), entry(one.node).level);
  });
  uint32_t highest = 0;
  for (const Survey::Lost& one : lost) highest = std::max<uint32_t>(highest, entry(one.node).level);
  for (const ImagePtr& image : survey_.images)
    for (uint32_t level = 0; level < highest; ++level) {
      Task<void> looking = look_at_loose(image, level);
      co_await looking;
    }
  std::unordered_map<NodeRef, Part, NodeRef::Hash> parts;
  bool all = true;
  for (const Survey::Lost& one : lost) {
    Result<Part> part = cannot_tell("it may come back");
    if (!one.temporary) {
      Task<Result<Part>> making = by_entries(one.node);
      part = co_await making;
    }
    if (part)
      parts.emplace(one.node, std::move(*part));
    else if (one.node == wanted)
      co_return forward_error(part);
    else if (find_in(newest, one.node))
      all = false;
  }
  if (!all) std::erase_if(parts, [](const auto& part) { return part.second.takes_ids; });
  if (!parts.contains(wanted))
    co_return cannot_tell("another one that is lost may have had its children");
  MadeNodes out;
  for (auto& [node, part] : parts) {
    std::ranges::move(part.result.nodes, std::back_inserter(out.nodes));
    std::ranges::move(part.result.adopted, std::back_inserter(out.adopted));
    std::ranges::move(part.result.taken, std::back_inserter(out.taken));
  }
  co_return out;
}

Task<Result<InnerMender::Part>> InnerMender::by_entries(NodeRef lost) {
  Result<NodePlace> place = survey_.place_of(lost);
  if (!place) co_return forward_error(place);
  const ImagePtr& image = place->image;
  const uint32_t level = entry(lost).level;
  const MapId map = place->maps.front();
  Task<Result<Scan>> scanning = scan_range(pool_, image, map, place->range);
  Result<Scan> scan = co_await scanning;
  if (!scan) co_return forward_error(scan);
  const std::vector<Extent> said =
      replay_range(*scan, image->lineage, map, place->range, pool_.nodes);
  LAMINA_CO_TRY(expect_blocks(entry(lost), stored_blocks(said)));
  Part part;
  part.lost = lost;
  part.place = *place;
  const auto take = [&](uint32_t of_level) { return take_id(of_level, part); };
  Cover cover(said, map, pool_.settings.node_fill_bytes, take);
  Task<void> finding = find_serving(*scan, cover, part);
  co_await finding;
  auto children = cover.over(level - 1, place->range);
  if (!children) co_return forward_error(children);
  Node node = Node::of(place->maps.front(), lost.id, level, place->range);
  set_children(node, *children);
  if (!fits(node)) co_return cannot_tell("it has too many children");
  std::vector<Node>& made = cover.made();
  made.push_back(std::move(node));
  std::vector<Node> adopted;
  for (const Node& one : made) {
    if (place->is_newest) LAMINA_CO_TRY(share_again(pool_, one.extents));
    Task<Result<>> adopting = adopt(*image, one, part, adopted);
    LAMINA_CO_TRY(co_await adopting);
  }
  // From here on they have their children, whoever is made next.
  for (const Node& one : std::views::reverse(made)) attach(*image, one);
  for (const Node& one : adopted) attach(*image, one);
  survey_.sort_links();
  for (Node& one : made) {
    const NodeRef ref = ref_in(*image, one.header.id);
    if (part.takes_ids) with_ids_.insert(ref);
    made_.emplace(ref, one);
    part.result.nodes.push_back({entry(ref), std::move(one)});
  }
  co_return part;
}

void InnerMender::attach(const Image& image, const Node& node) {
  survey_.add_children(image, ref_in(image, node.header.id), node);
  for (const Child& child : node.children) taken_.insert(ref_in(image, child.id));
}

// Of the levels below, the nodes that say what is said.
Task<void> InnerMender::find_serving(const Scan& scan, Cover& cover, Part& part) {
  const WrittenBy written(scan);
  std::unordered_map<NodeId, BlockRange> serving;
  const auto says_so = [&](const Node& node) {
    const BlockRange range = node.header.range();
    if (node.header.level == 0)
      return same_content(range, node.extents, cover.said(range), written);
    return std::ranges::all_of(children_of(node), [&](const auto& child) {
      const auto found = serving.find(child.first);
      return found != serving.end() && found->second == child.second;
    });
  };
  for (uint32_t level = 0; level < entry(part.lost).level; ++level) {
    const auto visit = [&](const Node& node) {
      const NodeHeader& header = node.header;
      if (!says_so(node)) return;
      serving.emplace(header.id, header.range());
      cover.add(level, {header.id, header.range(), header.mapped_blocks});
      part.takes_ids = part.takes_ids || with_ids_.contains(ref_in(*part.place.image, header.id));
    };
    Task<bool> visiting = for_each_that_may_serve(level, part, visit);
    co_await visiting;
    Task<void> making = make_lost_ones(level, cover, part);
    co_await making;
    for (const Node& node : cover.made()) serving.emplace(node.header.id, node.header.range());
  }
}

Task<Result<MadeNodes>> mend_inner(PoolState& pool, Survey surveyed, NodeRef wanted) {
  InnerMender mender(pool, std::move(surveyed));
  Task<Result<MadeNodes>> making = mender.run(wanted);
  co_return co_await making;
}

}  // namespace lamina
