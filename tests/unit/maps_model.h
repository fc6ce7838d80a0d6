// SPDX-License-Identifier: Apache-2.0
// A map as an array with one entry a block: the oracle that layers and trees are compared with.
// Thread-safety: none.
#pragma once

#include <gtest/gtest.h>

#include <ctime>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "engine/maps/extent.h"

namespace lamina {

inline Extent data_extent(uint64_t begin, uint64_t length, uint32_t generation, uint32_t block) {
  return {.begin = {begin}, .end = {begin + length}, .address = {Generation{generation}, block}};
}
inline Extent zero_extent(uint64_t begin, uint64_t end, uint32_t home) {
  return {.begin = {begin}, .end = {end}, .kind = ExtentKind::zero, .home = Generation{home}};
}
inline Extent lost_extent(uint64_t begin, uint64_t end, uint32_t home) {
  return {.begin = {begin}, .end = {end}, .kind = ExtentKind::lost, .home = Generation{home}};
}

inline void PrintTo(const Extent& e, std::ostream* out) {
  static constexpr const char* kinds[] = {"data", "zero", "lost"};
  *out << kinds[static_cast<int>(e.kind)] << " [" << e.begin.value << ", " << e.end.value << ") at "
       << raw(e.address.generation) << ":" << e.address.block << " home " << raw(e.home)
       << (e.alias ? " alias" : "") << (e.reserved ? " reserved" : "")
       << (e.certain ? " certain" : "");
}

// Processor time, so that figures mean something on a machine that does other things, too.
inline double cpu_ns() {
  return static_cast<double>(std::clock()) * (1e9 / CLOCKS_PER_SEC);
}

// The extent of every block, cut to that block; `tail` is what all blocks past the array are.
struct BlockModel {
  std::vector<std::optional<Extent>> blocks;
  std::optional<Extent> tail;

  explicit BlockModel(size_t size) : blocks(size) {}

  void set(const Extent& extent) {
    for (uint64_t b = extent.begin.value; b < blocks.size() && b < extent.end.value; ++b)
      blocks[b] = clip(extent, {b}, {b + 1});
    if (extent.end == device_end) tail = clip(extent, {blocks.size()}, device_end);
  }
  std::vector<Extent> extents() const {
    std::vector<Extent> out;
    auto add = [&](const std::optional<Extent>& e) {
      if (!e) return;
      if (!out.empty() && continues(out.back(), *e))
        out.back().end = e->end;
      else
        out.push_back(*e);
    };
    for (const auto& block : blocks) add(block);
    add(tail);
    return out;
  }
};

// Random changes over a small device: mostly short data, sometimes zeroes, aliases, lost ranges,
// and ranges to infinity.
struct RandomExtents {
  std::mt19937_64 random;
  uint64_t device_blocks;

  uint64_t below(uint64_t limit) { return random() % limit; }
  Extent operator()() {
    const uint64_t begin = below(device_blocks);
    const uint64_t longest = std::min(device_blocks - begin, below(8) == 0 ? device_blocks : 8);
    const uint64_t length = 1 + below(longest);
    const auto generation = static_cast<uint32_t>(1 + below(6));
    const uint64_t kind = below(20);
    if (kind == 0) return lost_extent(begin, begin + length, generation);
    if (kind < 6) {
      const uint64_t end = below(12) == 0 ? device_end.value : begin + length;
      Extent zero = zero_extent(begin, end, generation);
      zero.reserved = below(6) == 0;
      return zero;
    }
    // Often contiguous with what neighbours have, so that merging is exercised.
    const auto block = static_cast<uint32_t>(below(3) == 0 ? below(2000) : begin % 1000);
    Extent data = data_extent(begin, length, generation, block);
    if (below(8) == 0) {
      data.alias = true;
      data.home = Generation{static_cast<uint32_t>(1 + below(6))};
    }
    return data;
  }
};

}  // namespace lamina
