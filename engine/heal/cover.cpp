// SPDX-License-Identifier: Apache-2.0
#include "engine/heal/cover.h"

#include <algorithm>
#include <iterator>
#include <ranges>
#include <set>

#include "engine/heal/scan_range.h"

namespace lamina {

void set_children(Node& node, std::span<const Cover::Piece> children) {
  for (const Cover::Piece& child : children) {
    node.children.push_back({child.range.begin, child.id});
    node.header.mapped_blocks += child.mapped_blocks;
  }
}

namespace {

std::vector<Child> as_children(std::span<const Cover::Piece> pieces) {
  std::vector<Child> out;
  for (const Cover::Piece& piece : pieces) out.push_back({piece.range.begin, piece.id});
  return out;
}

}  // namespace

std::span<const Extent> Cover::overlapping(BlockRange range) const {
  const auto first = std::ranges::upper_bound(said_, range.begin, {}, &Extent::end);
  const auto last = std::ranges::lower_bound(first, said_.end(), range.end, {}, &Extent::begin);
  return {first, last};
}

std::vector<Extent> Cover::said(BlockRange range) const {
  std::vector<Extent> out;
  for (const Extent& extent : overlapping(range))
    out.push_back(
        clip(extent, std::max(extent.begin, range.begin), std::min(extent.end, range.end)));
  return out;
}

// Pieces and, with node none, gaps between them.
std::vector<Cover::Piece> Cover::tile(uint32_t level, BlockRange range) const {
  struct Step {
    uint64_t cost = 0;  // from here to the end
    Piece piece;
  };
  std::vector<const Piece*> pieces;  // by where they begin
  if (const auto all = pieces_.find(level); all != pieces_.end())
    for (const auto& [begin, piece] : all->second)
      if (range.begin <= begin && piece.range.end <= range.end) pieces.push_back(&piece);
  std::set<DeviceBlock> places{range.begin};
  for (const Piece* piece : pieces) places.insert({piece->range.begin, piece->range.end});
  std::map<DeviceBlock, Step> best{{range.end, {}}};
  const auto begin_of = [](const Piece* piece) { return piece->range.begin; };
  for (const DeviceBlock place : std::views::reverse(places)) {
    if (place == range.end) continue;
    const auto here = std::ranges::equal_range(pieces, place, {}, begin_of);
    const DeviceBlock until = here.end() == pieces.end() ? range.end : (*here.end())->range.begin;
    const uint64_t extents = overlapping({place, until}).size();
    Step step{best.at(until).cost + extents + 1, {NodeId::none, {place, until}}};
    for (const Piece* piece : here)
      if (const uint64_t cost = best.at(piece->range.end).cost; cost < step.cost)
        step = {cost, *piece};
    best.emplace(place, step);
  }
  std::vector<Piece> out;
  for (DeviceBlock at = range.begin; at < range.end; at = out.back().range.end) {
    const Piece& piece = best.at(at).piece;
    if (piece.id == NodeId::none && !out.empty() && out.back().id == NodeId::none)
      out.back().range.end = piece.range.end;
    else
      out.push_back(piece);
  }
  return out;
}

Result<std::vector<Cover::Piece>> Cover::over(uint32_t level, BlockRange range) {
  std::vector<Piece> out;
  for (const Piece& piece : tile(level, range)) {
    if (piece.id != NodeId::none)
      out.push_back(piece);
    else
      LAMINA_TRY(fill(level, piece.range, out));
  }
  return out;
}

Result<> Cover::fill(uint32_t level, BlockRange gap, std::vector<Piece>& out) {
  if (level == 0) {
    const std::vector<Extent> extents = said(gap);
    std::span<const Extent> rest = extents;
    for (DeviceBlock at = gap.begin; at < gap.end; at = out.back().range.end) {
      const size_t count = rest.empty() ? 0 : leaf_prefix_that_fits(rest, node_bits_);
      const DeviceBlock end = count == rest.size() ? gap.end : rest[count].begin;
      auto id = take_id_(0);
      if (!id) return forward_error(id);
      out.push_back(make(0, *id, {at, end}, rest.first(count), {}));
      rest = rest.subspan(count);
    }
    return {};
  }
  auto below = over(level - 1, gap);
  if (!below) return forward_error(below);
  const std::vector<Child> children = as_children(*below);
  for (size_t at = 0; at < children.size();) {
    const size_t count = inner_prefix_that_fits(std::span(children).subspan(at), node_bits_);
    const std::span<const Piece> mine = std::span(*below).subspan(at, count);
    auto id = take_id_(level);
    if (!id) return forward_error(id);
    const BlockRange range{mine.front().range.begin, mine.back().range.end};
    out.push_back(make(level, *id, range, {}, mine));
    at += count;
  }
  return {};
}

Result<> Cover::make(uint32_t level, NodeId id, BlockRange range) {
  const auto too_much = [] { return fail(Code::corrupt, "it takes more than a node"); };
  if (level == 0) {
    const std::vector<Extent> extents = said(range);
    if (!extents.empty() && leaf_prefix_that_fits(extents) < extents.size()) return too_much();
    add(0, make(0, id, range, extents, {}));
    return {};
  }
  auto below = over(level - 1, range);
  if (!below) return forward_error(below);
  if (inner_prefix_that_fits(as_children(*below)) < below->size()) return too_much();
  add(level, make(level, id, range, {}, *below));
  return {};
}

Cover::Piece Cover::make(uint32_t level, NodeId id, BlockRange range,
                         std::span<const Extent> extents, std::span<const Piece> children) {
  Node node = Node::of(map_, id, level, range);
  node.header.mapped_blocks = stored_blocks(extents);
  node.extents.assign(extents.begin(), extents.end());
  set_children(node, children);
  const Piece piece{id, range, node.header.mapped_blocks};
  made_.push_back(std::move(node));
  return piece;
}

}  // namespace lamina
