// SPDX-License-Identifier: Apache-2.0
#include "engine/thin_map.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "engine/maps/leaf_changes.h"
#include "engine/maps/tree.h"
#include "engine/mutation.h"

namespace lamina {
namespace {

constexpr int most_images = 3;  // that a reader looks through, where one has what is bad

// Looks `ranges` up in a layer: what it knows goes to `out`, the rest comes back.
std::vector<BlockRange> look_through(const Layer& layer, const std::vector<BlockRange>& ranges,
                                     std::vector<Extent>& out) {
  std::vector<BlockRange> gaps;
  for (const BlockRange& range : ranges) {
    const size_t before = out.size();
    layer.lookup(range, out);
    DeviceBlock at = range.begin;
    for (size_t i = before; i < out.size(); ++i) {
      if (at < out[i].begin) gaps.push_back({at, out[i].begin});
      at = out[i].end;
    }
    if (at < range.end) gaps.push_back({at, range.end});
  }
  return gaps;
}

void sort_by_place(std::vector<Extent>& extents) {
  std::sort(extents.begin(), extents.end(),
            [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
}

std::vector<BlockRange> ranges_of(const Layer& layer) {
  std::vector<BlockRange> ranges;
  layer.for_each([&](const Extent& extent) { ranges.push_back(extent.range()); });
  return ranges;
}

std::shared_ptr<const Layer> suspects(const std::vector<BlockRange>& ranges) {
  if (ranges.empty()) return nullptr;
  auto layer = std::make_shared<Layer>();
  for (const BlockRange& range : ranges) {
    Extent extent;
    extent.begin = range.begin;
    extent.end = range.end;
    extent.kind = ExtentKind::lost;
    layer->insert(extent);
  }
  return layer;
}

}  // namespace

ThinMap::ThinMap(MapId id, DeviceId device, ImagePtr image, NodeId root, uint64_t mapped_blocks,
                 uint64_t extents, std::vector<ClosedLayerPtr> closed, Sequence after)
    : id_(id),
      device_(device),
      top_after_(after),
      closed_(std::move(closed)),
      image_(std::move(image)),
      tree_{id, root, mapped_blocks, extents} {}

void ThinMap::insert(const Extent& extent) {
  Lock lock(mutex_);
  top_.insert(extent);
}

void ThinMap::close_top(Sequence at) {
  if (!top_.empty()) {
    auto closed = std::make_shared<ClosedLayer>();
    closed->layer = std::exchange(top_, Layer{});
    closed->map = id_;
    closed->after = top_after_;
    closed->closed_at = at;
    closed_.push_back(std::move(closed));
  }
  top_after_ = at;
}

std::shared_ptr<ThinMap> ThinMap::fork(MapId id, DeviceId device, Sequence at) {
  std::shared_ptr<ThinMap> forked;
  std::shared_ptr<const Layer> suspect;
  Sequence suspect_at = 0;
  std::map<NodeId, BlockRange> refused;
  {
    Lock lock(mutex_);
    if (!mutated(Mutation::fork_without_closing)) close_top(at);
    forked = std::make_shared<ThinMap>(id, device, image_, tree_.root, tree_.mapped_blocks,
                                       tree_.extents, closed_, at);
    suspect = suspect_;
    suspect_at = suspect_at_;
    refused = refused_;
  }
  for (const auto& [node, range] : refused) forked->refuse(node, range);
  Lock its(forked->mutex_);
  forked->suspect_ = std::move(suspect);
  forked->suspect_at_ = suspect_at;
  return forked;
}

void ThinMap::refuse(NodeId node, BlockRange range) {
  Lock lock(mutex_);
  refused_.insert_or_assign(node, range);
  refuses_any_ = true;
}

void ThinMap::take_again(NodeId node) {
  if (!refuses_any_) return;
  Lock lock(mutex_);
  refused_.erase(node);
  refuses_any_ = !refused_.empty();
}

bool ThinMap::refuses(BlockRange range, bool erases) const {
  if (!refuses_any_) return false;
  Lock lock(mutex_);
  return std::ranges::any_of(refused_, [&](const auto& one) {
    const BlockRange& lost = one.second;
    return lost.overlaps(range) && !(erases && range.covers(lost));
  });
}

void ThinMap::take_what_was_dropped(const std::vector<ClosedLayerPtr>& merged) {
  if (refused_.empty()) return;
  std::erase_if(refused_, [&](const auto& one) {
    return std::ranges::any_of(merged, [&](const ClosedLayerPtr& layer) {
      return covered_by_zeroes(layer->layer, one.second);
    });
  });
  refuses_any_ = !refused_.empty();
}

void ThinMap::set_suspect(const std::vector<BlockRange>& ranges, Sequence at) {
  auto suspect = suspects(ranges);
  Lock lock(mutex_);
  suspect_ = std::move(suspect);
  suspect_at_ = at;
}

std::vector<BlockRange> ThinMap::suspect() const {
  Lock lock(mutex_);
  if (!suspect_) return {};
  std::vector<BlockRange> left = ranges_of(*suspect_);
  std::vector<Extent> covered;
  left = look_through(top_, left, covered);
  for (const ClosedLayerPtr& closed : closed_)
    if (closed->closed_at > suspect_at_) left = look_through(closed->layer, left, covered);
  return left;
}

// What the tree has from there is newer than what was in doubt.
void ThinMap::believe_covered(const std::vector<ClosedLayerPtr>& merged) {
  if (!suspect_) return;
  std::vector<BlockRange> left = ranges_of(*suspect_);
  std::vector<Extent> covered;
  for (const ClosedLayerPtr& layer : merged)
    if (layer->closed_at > suspect_at_) left = look_through(layer->layer, left, covered);
  if (!covered.empty()) suspect_ = suspects(left);
}

ThinMap::Gathered ThinMap::gather(BlockRange range) const {
  Gathered found;
  found.gaps = {range};
  Lock lock(mutex_);
  found.image = image_;
  found.root = tree_.root;
  if (!top_.empty()) found.gaps = look_through(top_, found.gaps, found.extents);
  const Layer* doubted = suspect_.get();
  for (auto at = closed_.rbegin(); at != closed_.rend() && !found.gaps.empty(); ++at) {
    if (doubted && (*at)->closed_at <= suspect_at_)
      found.gaps = look_through(*std::exchange(doubted, nullptr), found.gaps, found.extents);
    found.gaps = look_through((*at)->layer, found.gaps, found.extents);
  }
  if (doubted) found.gaps = look_through(*doubted, found.gaps, found.extents);
  return found;
}

bool ThinMap::try_resolve(NodeStore& nodes, BlockRange range, Resolved& out) const {
  Gathered found = gather(range);
  if (found.root != NodeId::none)
    for (const BlockRange& gap : found.gaps)
      if (!try_lookup(nodes, found.image->nodes, found.root, gap, found.extents)) return false;
  if (found.extents.size() > 1) sort_by_place(found.extents);
  out.extents = std::move(found.extents);
  out.pin = std::move(found.image);
  return true;
}

// What was found bad in an image may have been written anew since, and the image be one that nobody
// keeps any more but who looks through it.
Task<Result<ThinMap::Resolved>> ThinMap::resolve(NodeStore& nodes, BlockRange range,
                                                 size_t limit) const {
  for (int attempt = 1;; ++attempt) {
    Gathered found = gather(range);
    const ImagePtr image = found.image;
    Task<Result<Resolved>> looking = look_below(nodes, std::move(found), range, limit);
    Result<Resolved> resolved = co_await looking;
    if (resolved || attempt == most_images) co_return resolved;
    Lock lock(mutex_);
    if (image_ == image) co_return resolved;
  }
}

Task<Result<ThinMap::Resolved>> ThinMap::look_below(NodeStore& nodes, Gathered found,
                                                    BlockRange range, size_t limit) const {
  DeviceBlock known = range.end;  // before it everything has been looked at
  if (found.root != NodeId::none) {
    size_t taken = 0;
    for (const BlockRange& gap : found.gaps) {
      const size_t before = found.extents.size();
      auto result =
          co_await lookup(nodes, found.image->nodes, found.root, gap, found.extents, limit - taken);
      if (!result) co_return forward_error(result);
      taken += found.extents.size() - before;
      if (taken >= limit) {
        known = found.extents.back().end;
        break;
      }
    }
  }
  sort_by_place(found.extents);
  while (!found.extents.empty() && found.extents.back().begin >= known && known < range.end)
    found.extents.pop_back();
  Resolved resolved{std::move(found.extents), std::move(found.image)};
  if (known < range.end && !resolved.extents.empty() && resolved.extents.back().end > known)
    resolved.extents.back() = clip(resolved.extents.back(), resolved.extents.back().begin, known);
  co_return resolved;
}

void ThinMap::swap(const Swap& swap, Sequence entry) {
  Lock lock(mutex_);
  if (entry > top_after_) top_.swap(swap);
}

std::vector<ClosedLayerPtr> ThinMap::closed() const {
  Lock lock(mutex_);
  return closed_;
}

void ThinMap::replace(const Replaced& replaced) {
  std::vector<ClosedLayerPtr> old;  // freed after the lock
  Lock lock(mutex_);
  for (ClosedLayerPtr& layer : closed_)
    if (const auto found = replaced.find(layer.get()); found != replaced.end())
      old.push_back(std::exchange(layer, found->second));
}

MapStack ThinMap::cut(Sequence at) {
  Lock lock(mutex_);
  close_top(at);
  // As if what a checkpoint that came to nothing had closed were merged.
  if (mutated(Mutation::forget_layers) && closed_.size() > 1) return {tree_, {closed_.back()}};
  return {tree_, closed_};
}

MapStack ThinMap::up_to(Sequence at) const {
  Lock lock(mutex_);
  MapStack stack{tree_, {}};
  for (const ClosedLayerPtr& layer : closed_)
    if (layer->closed_at <= at) stack.layers.push_back(layer);
  return stack;
}

void ThinMap::publish(ImagePtr image, const ImageMap& made, Sequence at) {
  std::vector<ClosedLayerPtr> old;  // freed after the lock: they may be large
  Lock lock(mutex_);
  image_ = std::move(image);
  tree_ = made;
  tree_.map = id_;
  const auto newer = std::find_if(closed_.begin(), closed_.end(),
                                  [at](const ClosedLayerPtr& l) { return l->closed_at > at; });
  std::move(closed_.begin(), newer, std::back_inserter(old));
  closed_.erase(closed_.begin(), newer);
  believe_covered(old);
  take_what_was_dropped(old);
}

ThinMap::Size ThinMap::size() const {
  Lock lock(mutex_);
  Size size;
  size.extents = tree_.extents;
  size.exact = top_.empty() && closed_.empty();
  size.merged_blocks = tree_.mapped_blocks;
  // What the layers hold may lie over what the tree holds already: exact again after a merge.
  size.mapped_blocks = tree_.mapped_blocks + top_.data_blocks();
  for (const ClosedLayerPtr& layer : closed_) size.mapped_blocks += layer->layer.data_blocks();
  return size;
}

bool ThinMap::untouched() const {
  Lock lock(mutex_);
  return tree_.root == NodeId::none && top_.empty() && closed_.empty() && !suspect_;
}

size_t ThinMap::layer_bytes(std::vector<ClosedLayerPtr>& closed) const {
  Lock lock(mutex_);
  closed.insert(closed.end(), closed_.begin(), closed_.end());
  return top_.bytes();
}

size_t ThinMap::layers() const {
  Lock lock(mutex_);
  return closed_.size();
}

}  // namespace lamina
