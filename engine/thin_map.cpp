// SPDX-License-Identifier: Apache-2.0
#include "engine/thin_map.h"

#include <algorithm>

#include "base/check.h"
#include "engine/maps/tree.h"
#include "engine/mutation.h"

namespace lamina {
namespace {

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

}  // namespace

ThinMap::ThinMap(MapId id, DeviceId device, ImagePtr image, NodeId root, uint64_t mapped_blocks,
                 uint64_t extents)
    : id_(id),
      device_(device),
      top_(std::make_shared<Layer>()),
      image_(std::move(image)),
      root_(root),
      mapped_blocks_(mapped_blocks),
      extents_(extents) {}

void ThinMap::insert(const Extent& extent) {
  Lock lock(mutex_);
  top_->insert(extent);
}

ThinMap::Gathered ThinMap::gather(BlockRange range) const {
  Gathered found;
  found.gaps = {range};
  Lock lock(mutex_);
  found.image = image_;
  found.root = root_;
  if (!top_->empty()) found.gaps = look_through(*top_, found.gaps, found.extents);
  if (frozen_ && !found.gaps.empty())
    found.gaps = look_through(*frozen_, found.gaps, found.extents);
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

Task<Result<ThinMap::Resolved>> ThinMap::resolve(NodeStore& nodes, BlockRange range,
                                                 size_t limit) const {
  Gathered found = gather(range);
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

bool ThinMap::freeze() {
  Lock lock(mutex_);
  LAMINA_CHECK(!frozen_);
  if (top_->empty()) return false;
  frozen_ = std::move(top_);
  top_ = std::make_shared<Layer>();
  return true;
}

std::shared_ptr<const Layer> ThinMap::frozen() const {
  Lock lock(mutex_);
  return frozen_;
}

NodeId ThinMap::root() const {
  Lock lock(mutex_);
  return root_;
}

void ThinMap::publish(ImagePtr image, const ImageMap& made, bool merged) {
  std::shared_ptr<const Layer> old;  // freed after the lock: it may be large
  Lock lock(mutex_);
  image_ = std::move(image);
  root_ = made.root;
  mapped_blocks_ = made.mapped_blocks;
  extents_ = made.extents;
  if (merged) old = std::move(frozen_);
}

void ThinMap::thaw() {
  std::shared_ptr<const Layer> old;  // freed after the lock
  Lock lock(mutex_);
  if (!frozen_) return;
  auto merged = std::make_shared<Layer>();
  if (!mutated(Mutation::forget_layers))
    frozen_->for_each([&](const Extent& extent) { merged->insert(extent); });
  top_->for_each([&](const Extent& extent) { merged->insert(extent); });
  top_ = std::move(merged);
  old = std::move(frozen_);
}

void ThinMap::swap(const Swap& swap) {
  Lock lock(mutex_);
  LAMINA_CHECK(!frozen_);
  if (swap.home)
    top_->swap_home(swap.range, swap.from.generation, swap.to.generation);
  else
    top_->swap_address(swap.range, swap.from, swap.to);
}

ThinMap::Size ThinMap::size() const {
  Lock lock(mutex_);
  Size size;
  size.extents = extents_;
  size.layer_bytes = top_->bytes() + (frozen_ ? frozen_->bytes() : 0);
  size.exact = top_->empty() && !frozen_;
  size.merged_blocks = mapped_blocks_;
  // What the layers hold may lie over what the tree holds already: exact again after a merge.
  size.mapped_blocks =
      mapped_blocks_ + top_->data_blocks() + (frozen_ ? frozen_->data_blocks() : 0);
  return size;
}

bool ThinMap::untouched() const {
  Lock lock(mutex_);
  return root_ == NodeId::none && top_->empty() && !frozen_;
}

size_t ThinMap::layer_bytes() const {
  Lock lock(mutex_);
  return top_->bytes() + (frozen_ ? frozen_->bytes() : 0);
}

}  // namespace lamina
