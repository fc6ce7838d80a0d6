// SPDX-License-Identifier: Apache-2.0
#include "engine/maps/repack.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/maps/leaf_changes.h"

namespace lamina {
namespace {

// A node that is cut is not filled further than this, so that the next change does not cut it
// again.
size_t target(size_t bits) {
  return bits * 95 / 100;
}

// Neighbours become one if that leaves room.
bool should_join(size_t left, size_t right, size_t bits) {
  const size_t both = left + right;
  return both <= bits * 3 / 4 || (std::min(left, right) < bits / 3 && both <= bits * 9 / 10);
}

std::vector<Child> children_of(std::span<const ChildItem> items) {
  std::vector<Child> children;
  children.reserve(items.size());
  for (const ChildItem& item : items) children.push_back(item.child);
  return children;
}

size_t bits_of(std::span<const Extent> items) {
  return leaf_bits(items);
}
size_t bits_of(std::span<const ChildItem> items) {
  return inner_bits(children_of(items));
}

size_t prefix_of(std::span<const Extent> items, size_t bits) {
  return leaf_prefix_that_fits(items, bits);
}
size_t prefix_of(std::span<const ChildItem> items, size_t bits) {
  return inner_prefix_that_fits(children_of(items), bits);
}

DeviceBlock begin_of(const Extent& item) {
  return item.begin;
}
DeviceBlock begin_of(const ChildItem& item) {
  return item.child.begin;
}

uint64_t mapped_of(const Extent& item) {
  return item.stored() ? item.length().value : 0;
}
uint64_t mapped_of(const ChildItem& item) {
  return item.mapped_blocks;
}

void fill(Node& node, std::vector<Extent> items, RepackContext&) {
  node.extents = std::move(items);
}
void fill(Node& node, const std::vector<ChildItem>& items, RepackContext& context) {
  node.children = children_of(items);
  if (items.size() == 1) context.single_child[raw(node.header.id)] = items.front().child.id;
}

// Puts two neighbours' items together.
void join(std::vector<Extent>& left, std::span<const Extent> right, RepackContext& context) {
  if (!left.empty() && !right.empty() && continues(left.back(), right.front())) {
    if (has_home(left.back())) context.counts.home(left.back().home, -1);
    --context.output.extents_change;
    left.back().end = right.front().end;
    right = right.subspan(1);
  }
  left.insert(left.end(), right.begin(), right.end());
}
void join(std::vector<ChildItem>& left, std::span<const ChildItem> right, RepackContext&) {
  left.insert(left.end(), right.begin(), right.end());
}

}  // namespace

template <class Item>
void RepackWindow<Item>::hold(Content<Item> content) {
  held_bits_ = bits_of(content.items);
  held_ = std::move(content);
}

template <class Item>
void RepackWindow<Item>::combine(Content<Item> next) {
  Content<Item>& held = *held_;
  held.range.end = next.range.end;
  held.owned.insert(held.owned.end(), next.owned.begin(), next.owned.end());
  held.sources.insert(held.sources.end(), next.sources.begin(), next.sources.end());
  held.unchanged = NodeId::none;
  held.appended = next.appended;
  join(held.items, next.items, context_);
  held_bits_ = bits_of(held.items);
}

template <class Item>
bool RepackWindow<Item>::wants_neighbour() const {
  // From three nodes' worth on, they are full enough without.
  return held_ && !held_->appended && held_bits_ > node_bits_ &&
         held_bits_ <= 2 * target(node_bits_);
}

template <class Item>
Task<Result<>> RepackWindow<Item>::push(Content<Item> next) {
  if (!held_) {
    hold(std::move(next));
    co_return Result<>{};
  }
  const size_t next_bits = bits_of(next.items);
  const bool too_much = held_bits_ > node_bits_ || next_bits > node_bits_;
  const bool too_little =
      should_join(held_bits_, next_bits, node_bits_) || held_->items.empty() || next.items.empty();
  if (too_much || too_little) {
    combine(std::move(next));
    Task<Result<>> spilling = spill();
    co_return co_await spilling;
  }
  Task<Result<>> emitting = emit_held();
  Result<> result = co_await emitting;
  if (!result) co_return result;
  held_ = std::move(next);
  held_bits_ = next_bits;
  co_return Result<>{};
}

template <class Item>
Task<Result<>> RepackWindow<Item>::finish() {
  if (!held_) co_return Result<>{};
  Task<Result<>> spilling = spill();
  Result<> result = co_await spilling;
  if (!result) co_return result;
  Task<Result<>> emitting = emit_held();
  co_return co_await emitting;
}

// How many of the items, which take `bits`, go into the next node.
template <class Item>
size_t RepackWindow<Item>::cut(std::span<const Item> items, size_t bits) const {
  const size_t nodes = std::max<size_t>(2, div_up(bits, target(node_bits_)));
  const size_t even = div_up(items.size(), nodes);
  if (held_->appended) {
    const size_t full = prefix_of(items.first(std::min(items.size(), 2 * even)), node_bits_);
    return std::clamp<size_t>(full * 95 / 100, 1, items.size() - 1);
  }
  return prefix_of(items.first(even), node_bits_);
}

template <class Item>
Task<Result<>> RepackWindow<Item>::spill() {
  if (held_bits_ <= node_bits_) co_return Result<>{};
  Content<Item>& held = *held_;
  held.unchanged = NodeId::none;
  const double bits_each = static_cast<double>(held_bits_) / static_cast<double>(held.items.size());
  size_t taken = 0, bits = held_bits_;
  while (bits > node_bits_) {
    const std::span<const Item> rest = std::span<const Item>(held.items).subspan(taken);
    const size_t count = cut(rest, bits);
    LAMINA_CHECK(count < rest.size());
    const BlockRange range{held.range.begin, begin_of(rest[count])};
    std::vector<Item> part(rest.begin(), rest.begin() + static_cast<ptrdiff_t>(count));
    Task<Result<>> emitting = emit(range, std::move(part));
    Result<> result = co_await emitting;
    if (!result) co_return result;
    held.range.begin = range.end;
    taken += count;
    // Exact only where it decides something.
    const std::span<const Item> left = std::span<const Item>(held.items).subspan(taken);
    bits = static_cast<size_t>(bits_each * static_cast<double>(left.size()));
    if (bits < 3 * node_bits_) bits = bits_of(left);
  }
  held.items.erase(held.items.begin(), held.items.begin() + static_cast<ptrdiff_t>(taken));
  std::erase_if(held.sources,
                [&](const Source& source) { return source.range.end <= held.range.begin; });
  held_bits_ = bits;
  co_return Result<>{};
}

template <class Item>
Task<Result<>> RepackWindow<Item>::emit_held() {
  Content<Item> content = std::move(*held_);
  held_.reset();
  if (content.unchanged != NodeId::none) {
    uint64_t mapped = 0;
    for (const Item& item : content.items) mapped += mapped_of(item);
    out_.push_back({{content.range.begin, content.unchanged}, mapped});
    co_return Result<>{};
  }
  held_ = Content<Item>{};  // emit takes ids from there
  held_->owned = std::move(content.owned);
  held_->sources = std::move(content.sources);
  Task<Result<>> emitting = emit(content.range, std::move(content.items));
  Result<> result = co_await emitting;
  if (!result) co_return result;
  for (const Owned& owned : held_->owned) context_.sink.erase(owned.id);
  held_.reset();
  co_return Result<>{};
}

template <class Item>
std::vector<NodeId> RepackWindow<Item>::sources_of(BlockRange range) const {
  std::vector<NodeId> leaves;
  for (const Source& source : held_->sources)
    if (source.range.overlaps(range)) leaves.push_back(source.leaf);
  return leaves;
}

template <class Item>
Task<Result<>> RepackWindow<Item>::emit(BlockRange range, std::vector<Item> items) {
  Node node = Node::of(context_.input.map, NodeId::none, level_, range);
  node.header.birth = context_.input.birth;
  if (!held_->owned.empty()) {
    node.header.id = held_->owned.front().id;
    node.header.birth = held_->owned.front().birth;
    held_->owned.erase(held_->owned.begin());
  } else {
    node.header.id = context_.sink.allocate();
  }
  node.header.checkpoint = context_.input.checkpoint;
  for (const Item& item : items) node.header.mapped_blocks += mapped_of(item);
  fill(node, std::move(items), context_);
  Task<Result<>> putting = context_.sink.put(node, sources_of(range));
  Result<> result = co_await putting;
  if (!result) co_return result;
  ++context_.output.nodes_written;
  out_.push_back({{range.begin, node.header.id}, node.header.mapped_blocks});
  co_return Result<>{};
}

template class RepackWindow<Extent>;
template class RepackWindow<ChildItem>;

}  // namespace lamina
