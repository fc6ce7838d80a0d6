// SPDX-License-Identifier: Apache-2.0
// How extents and children become rows of a packed node and rows become them again: the one place
// where the two forms meet.
// Thread-safety: pure functions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <type_traits>

#include "base/check.h"
#include "engine/maps/columns.h"
#include "engine/maps/node.h"

namespace lamina {

template <class Item>
constexpr size_t columns_of() {
  return std::is_same_v<Item, Extent> ? node_format::leaf_columns : node_format::inner_columns;
}

// Addresses are packed as one number, generation first: so many bits are the block's.
inline unsigned address_block_bits_of(std::span<const Extent> extents) {
  uint32_t blocks = 0;
  for (const Extent& e : extents)
    if (e.kind == ExtentKind::data) blocks |= e.address.block;
  return bits_for(blocks);
}
inline unsigned address_block_bits_of(std::span<const Child>) {
  return 0;
}

inline node_format::Tag tag_of(const Extent& e) {
  using node_format::Tag;
  switch (e.kind) {
    case ExtentKind::data:
      return e.alias ? Tag::alias : Tag::data;
    case ExtentKind::zero:
      return e.reserved ? Tag::reserved_zero : Tag::zero;
    case ExtentKind::lost:
      break;
  }
  return Tag::lost;
}

// At most 64 items.
inline RowGroup make_group(std::span<const Extent> extents, unsigned address_block_bits) {
  using namespace node_format;
  RowGroup group;
  group.first_key = extents.front().begin.value;
  DeviceBlock end = extents.front().begin;
  for (const Extent& e : extents) {
    LAMINA_CHECK(e.begin >= end && e.begin < e.end);
    const Tag tag = tag_of(e);
    if (group.rows > 0) group.set(LeafColumn::gap, (e.begin - end).value);
    group.set(LeafColumn::length, e.length().value - 1);
    group.set(LeafColumn::tag, static_cast<uint64_t>(tag));
    if (e.kind == ExtentKind::data) {
      LAMINA_CHECK(e.address.generation != Generation::none);
      group.set(LeafColumn::address,
                uint64_t{raw(e.address.generation)} << address_block_bits | e.address.block);
    }
    if (tag != Tag::data) group.set(LeafColumn::home, raw(e.home));
    ++group.rows;
    end = e.end;
  }
  return group;
}

inline RowGroup make_group(std::span<const Child> children, unsigned) {
  using namespace node_format;
  RowGroup group;
  group.first_key = children.front().begin.value;
  DeviceBlock before = children.front().begin;
  for (const Child& child : children) {
    LAMINA_CHECK(child.id != NodeId::none && (group.rows == 0 || child.begin > before));
    if (group.rows > 0) group.set(InnerColumn::child_gap, (child.begin - before).value);
    group.set(InnerColumn::child_id, raw(child.id));
    ++group.rows;
    before = child.begin;
  }
  return group;
}

// What a row is checked against, from one row to the next.
struct RowContext {
  uint64_t next;  // what the next row's gap counts from: an extent's end, a child's begin
  uint64_t end;   // of the node
  unsigned address_block_bits;
  bool first = true;
};

// Everything about a leaf's row but where it lies. False: no valid extent.
template <class Value>
bool fill_extent(Value value, unsigned address_block_bits, Extent& e) {
  using namespace node_format;
  const uint64_t tag = value(LeafColumn::tag);
  if (tag >= tag_count) return false;
  e.alias = tag == static_cast<uint64_t>(Tag::alias);
  e.reserved = tag == static_cast<uint64_t>(Tag::reserved_zero);
  e.kind = tag <= static_cast<uint64_t>(Tag::alias)  ? ExtentKind::data
           : tag == static_cast<uint64_t>(Tag::lost) ? ExtentKind::lost
                                                     : ExtentKind::zero;
  if (tag != static_cast<uint64_t>(Tag::data)) {
    const uint64_t home = value(LeafColumn::home);
    if (home > UINT32_MAX) return false;
    e.home = Generation{static_cast<uint32_t>(home)};
  }
  if (e.kind != ExtentKind::data) return true;
  const uint64_t address = value(LeafColumn::address);
  const uint64_t generation = address >> address_block_bits;
  if (generation == 0 || generation > UINT32_MAX) return false;
  e.address = {Generation{static_cast<uint32_t>(generation)},
               static_cast<uint32_t>(address & low_mask(address_block_bits))};
  return true;
}

template <class Value>
bool make_item(uint64_t begin, Value value, RowContext& context, Extent& e) {
  const uint64_t length = value(node_format::LeafColumn::length);  // less one
  if (begin < context.next || begin >= context.end || length >= context.end - begin) return false;
  e.begin = {begin};
  e.end = {begin + length + 1};
  context.next = e.end.value;
  return fill_extent(value, context.address_block_bits, e);
}

template <class Value>
bool make_item(uint64_t begin, Value value, RowContext& context, Child& child) {
  // The first child begins where the node does; every other one behind the one before.
  if (context.first ? begin != context.next : begin <= context.next || begin >= context.end)
    return false;
  context.first = false;
  context.next = begin;
  child = {{begin}, NodeId{value(node_format::InnerColumn::child_id)}};
  return child.id != NodeId::none;
}

}  // namespace lamina
