// SPDX-License-Identifier: Apache-2.0
// Which nodes may have been below a lost one, and which ids are free for what is made anew.
#include <algorithm>

#include "engine/heal/inner_mender.h"
#include "engine/heal/mend_leaf.h"

namespace lamina {

Task<void> InnerMender::look_at_loose(const ImagePtr& image, uint32_t level) {
  if (loose_.contains({image, level})) co_return;
  std::vector<NodeRef> nodes;
  image->nodes.for_each([&](NodeId id, const NodeEntry& one) {
    const NodeRef ref{id, one.checkpoint};
    if (one.level == level && !taken_.contains(ref) && !is_leaving(image, id)) nodes.push_back(ref);
  });
  Loose found;
  for (size_t i = 0; i < nodes.size(); ++i) {
    Task<Result<NodeBlock>> reading = pool_.nodes.get_as_it_is(nodes[i].id, entry(nodes[i]));
    const Result<NodeBlock> block = co_await reading;
    if (i % nodes_read_a_turn == nodes_read_a_turn - 1) co_await Yield{};
    if (block)
      found.readable.push_back(NodeView((*block)->span()).header());
    else
      found.lost.push_back(nodes[i].id);
  }
  loose(image, level) = std::move(found);
}

// By where they lie, and since when they have been there. False: of some that cannot be told.
Task<bool> InnerMender::for_each_that_may_serve(uint32_t level, Part& part, Visit visit) {
  const NodePlace& place = part.place;
  if (!part.divergences) part.divergences.emplace(survey_, place, part.lost);
  const Divergences& divergences = *part.divergences;
  bool all = true;
  size_t looked_at = 0;
  for (const NodeRef ref : candidates(level, place)) {
    if (divergences.until(ref) == 0) continue;  // another family's
    if (++looked_at % nodes_read_a_turn == 0) co_await Yield{};
    Task<std::optional<Node>> reading = read(ref);
    const std::optional<Node> node = co_await reading;
    all = all && node;
    if (node && divergences.allow(ref, node->header) && place.range.covers(node->header.range()))
      visit(*node);
  }
  co_return all;
}

std::vector<NodeRef> InnerMender::candidates(uint32_t level, const NodePlace& place) {
  std::vector<NodeRef> out;
  NodeRefs seen;
  const auto add = [&](NodeRef ref, BlockRange range) {
    if (place.range.covers(range) && !is_leaving(place.image, ref.id) && seen.insert(ref).second)
      out.push_back(ref);
  };
  for (const Survey::Link& link : survey_.links)
    if (link.level == level && find_in(*place.image, link.child)) add(link.child, link.range);
  for (const NodeHeader& header : loose(place.image, level).readable)
    add(ref_in(*place.image, header.id), header.range());
  return out;
}

// As it was, or as it has been made; a leaf that somebody has as it will be, when it is asked for.
Task<std::optional<Node>> InnerMender::read(NodeRef ref) {
  if (const auto made = made_.find(ref); made != made_.end()) co_return made->second;
  const NodeEntry& there = entry(ref);
  Task<Result<NodeBlock>> reading = pool_.nodes.get_as_it_is(ref.id, there);
  const Result<NodeBlock> block = co_await reading;
  if (block) {
    Result<Node> node = unpack_node((*block)->span());
    if (node) co_return std::move(*node);
    co_return std::nullopt;
  }
  if (block.error().code != Code::corrupt || there.level > 0) co_return std::nullopt;
  const Result<NodePlace> place = survey_.place_of(ref);
  if (!place) co_return std::nullopt;
  Task<Result<Node>> mending = mend_leaf(pool_, there, *place);
  Result<Node> node = co_await mending;
  if (!node) co_return std::nullopt;
  node->header.id = ref.id;
  made_.emplace(ref, *node);
  co_return std::move(*node);
}

// Of those that are lost as well: what is known to have been below, where it was; and which others
// are free.
Task<void> InnerMender::make_lost_ones(uint32_t level, Cover& cover, Part& part) {
  Task<std::unordered_map<NodeId, BlockRange>> asking = where_they_were(level, part);
  const std::unordered_map<NodeId, BlockRange> known = co_await asking;
  const std::vector<NodeId> lost = loose(part.place.image, level).lost;
  for (const NodeId id : lost) {
    const NodeRef ref = ref_in(*part.place.image, id);
    if (taken_.contains(ref)) continue;
    if (referred_to_.contains(id) || pool_.checkpointer.is_rewriting(id)) {
      part.could_wait = true;
      continue;
    }
    bool serves = true;
    Task<std::optional<BlockRange>> looking = range_elsewhere(id, part, serves);
    std::optional<BlockRange> range = co_await looking;
    if (const auto found = known.find(id); found != known.end() && !range) range = found->second;
    if (!serves) continue;
    if (!range) {
      part.free_ids[level].push_back(id);
    } else if (part.place.range.covers(*range) && cover.make(level, id, *range)) {
      take(ref, part);
    }
  }
}

// As nodes say that are between them and the one that is lost above, and that are not lost.
Task<std::unordered_map<NodeId, BlockRange>> InnerMender::where_they_were(uint32_t level,
                                                                          Part& part) {
  std::unordered_map<NodeId, BlockRange> known;
  if (level + 1 == entry(part.lost).level) co_return known;
  const std::vector<NodeHeader> between = loose(part.place.image, level + 1).readable;
  for (const NodeHeader& header : between) {
    const NodeRef ref = ref_in(*part.place.image, header.id);
    if (taken_.contains(ref) || !part.place.range.covers(header.range())) continue;
    Task<std::optional<Node>> reading = read(ref);
    const std::optional<Node> node = co_await reading;
    if (!node) continue;
    for (const auto& [child, range] : children_of(*node)) known.emplace(child, range);
  }
  co_return known;
}

// Other images may have the same lost node above, and another version of the one below. If that can
// be read its range is the one. Where there is none it cannot serve.
Task<std::optional<BlockRange>> InnerMender::range_elsewhere(NodeId id, Part& part, bool& serves) {
  const NodeRef here = ref_in(*part.place.image, id);
  for (const ImagePtr& image : survey_.images) {
    if (image == part.place.image || !find_in(*image, part.lost)) continue;
    const NodeRef there = ref_in(*image, id);
    if (there == here) continue;
    serves = there.id != NodeId::none;
    if (!serves) break;
    Task<Result<NodeBlock>> reading = pool_.nodes.get_as_it_is(id, entry(there));
    const Result<NodeBlock> block = co_await reading;
    if (block) co_return NodeView((*block)->span()).header().range();
  }
  co_return std::nullopt;
}

Result<NodeId> InnerMender::take_id(uint32_t level, Part& part) {
  std::vector<NodeId>& ids = part.free_ids[level];
  if (ids.empty())
    return fail(part.could_wait ? Code::busy : Code::corrupt,
                "more nodes are needed than are lost");
  const NodeId id = ids.back();
  ids.pop_back();
  take(ref_in(*part.place.image, id), part);
  return id;
}

void InnerMender::take(NodeRef ref, Part& part) {
  taken_.insert(ref);
  part.takes_ids = true;
  part.result.taken.push_back(ref.id);
}

// What nobody was known to have, with all below it.
Task<Result<>> InnerMender::adopt(const Image& image, const Node& by, Part& part,
                                  std::vector<Node>& adopted) {
  std::vector<Child> below = by.children;
  while (!below.empty()) {
    const NodeRef ref = ref_in(image, below.back().id);
    below.pop_back();
    if (part.divergences->reach(ref)) continue;
    if (const auto made = made_.find(ref); made != made_.end()) {
      if (part.place.is_newest) LAMINA_CO_TRY(share_again(pool_, made->second.extents));
      part.result.nodes.push_back({entry(ref), made->second});
      continue;
    }
    Task<Result<NodeBlock>> reading = pool_.nodes.get_as_it_is(ref.id, entry(ref));
    const Result<NodeBlock> block = co_await reading;
    if (!block) continue;  // it is one that is being made
    Result<Node> node = unpack_node((*block)->span());
    if (!node) co_return forward_error(node);
    if (part.place.is_newest) LAMINA_CO_TRY(share_again(pool_, node->extents));
    part.result.adopted.emplace_back(ref.id, entry(ref));
    below.insert(below.end(), node->children.begin(), node->children.end());
    adopted.push_back(std::move(*node));
  }
  co_return Result<>{};
}

}  // namespace lamina
