// SPDX-License-Identifier: Apache-2.0
#include "engine/maps/relocations.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "engine/maps/leaf_changes.h"

namespace lamina {

void Relocations::add_data(Address from, uint32_t blocks, Address to) {
  data_.push_back({from, blocks, to});
}

void Relocations::add_home(NodeId leaf, BlockRange range, Generation from, Generation to) {
  homes_[leaf].push_back({range, from, to, {}});
}

void Relocations::add_hole(NodeId leaf, BlockRange range, Generation from) {
  homes_[leaf].push_back({range, from, Generation::none, {}});
}

void Relocations::add_alias_home(NodeId leaf, BlockRange range, Address data, Generation from,
                                 Generation to) {
  homes_[leaf].push_back({range, from, to, data});
}

bool Relocations::Home::is_of(const Extent& extent) const {
  if (!has_home(extent) || extent.home != from || !extent.range().overlaps(range)) return false;
  if (extent.alias != (data.generation != Generation::none)) return false;
  if (to == Generation::none && (extent.kind != ExtentKind::zero || extent.reserved)) return false;
  const DeviceBlock begin = std::max(extent.begin, range.begin);
  return !extent.alias || extent.address + (begin - extent.begin) == data + (begin - range.begin);
}

void Relocations::follow(NodeId from, NodeId to) {
  const auto known = homes_.find(from);
  if (known == homes_.end()) return;
  const std::vector<Home> homes = known->second;
  std::vector<Home>& also = homes_[to];
  also.insert(also.end(), homes.begin(), homes.end());
}

void Relocations::keep_aliases(Generation data, const std::set<Generation>& given_up) {
  for (auto& [leaf, homes] : homes_)
    std::erase_if(homes, [&](const Home& home) {
      return home.data.generation == data && !given_up.contains(home.from);
    });
}

void Relocations::sort() {
  std::sort(data_.begin(), data_.end(),
            [](const Data& a, const Data& b) { return a.from < b.from; });
  for (size_t i = 1; i < data_.size(); ++i)
    LAMINA_CHECK(data_[i - 1].from.generation != data_[i].from.generation ||
                 data_[i - 1].from.block + data_[i - 1].blocks <= data_[i].from.block);
}

void Relocations::count_data(LiveCounts& counts) const {
  for (const Data& data : data_) {
    counts.data(data.from.generation, -int64_t{data.blocks});
    counts.data(data.to.generation, int64_t{data.blocks});
  }
}

uint64_t Relocations::blocks_from(Generation generation) const {
  uint64_t blocks = 0;
  auto at = std::partition_point(data_.begin(), data_.end(), [&](const Data& data) {
    return data.from.generation < generation;
  });
  for (; at != data_.end() && at->from.generation == generation; ++at) blocks += at->blocks;
  return blocks;
}

std::vector<Extent> Relocations::places(const Extent& data) const {
  std::vector<Extent> out;
  bool changed = false;
  move_data(data, out, changed);
  return out;
}

// Appends the extent, in pieces where parts of it lie elsewhere now.
void Relocations::move_data(const Extent& extent, std::vector<Extent>& out, bool& changed) const {
  Extent rest = extent;
  auto next = std::partition_point(data_.begin(), data_.end(), [&](const Data& data) {
    return data.from + BlockCount{data.blocks} <= extent.address;
  });
  for (; next != data_.end() && next->from.generation == extent.address.generation; ++next) {
    const uint64_t rest_end = rest.address.block + rest.length().value;
    if (next->from.block >= rest_end) break;
    const uint32_t skip =
        next->from.block > rest.address.block ? next->from.block - rest.address.block : 0;
    if (skip > 0) out.push_back(clip(rest, rest.begin, rest.begin + BlockCount{skip}));
    const DeviceBlock begin = rest.begin + BlockCount{skip};
    const Address at = rest.address + BlockCount{skip};
    const uint64_t length =
        std::min<uint64_t>(next->from.block + uint64_t{next->blocks}, rest_end) - at.block;
    Extent moved = clip(rest, begin, begin + BlockCount{length});
    moved.address = next->to + BlockCount{at.block - next->from.block};
    out.push_back(moved);
    changed = true;
    if (moved.end == rest.end) return;
    rest = clip(rest, moved.end, rest.end);
  }
  out.push_back(rest);
}

// Where an alias lies is part of what its home states: both change, or neither does.
void Relocations::move_home(const std::vector<Home>& homes, std::vector<Extent>& extents,
                            LiveCounts& counts, bool& changed) const {
  for (const Home& home : homes) {
    std::vector<Extent> out;
    out.reserve(extents.size() + 2);
    for (const Extent& extent : extents) {
      if (!home.is_of(extent)) {
        out.push_back(extent);
        continue;
      }
      Extent moved = clip(extent, home.range.begin, home.range.end);
      moved.home = home.to;
      counts.home(home.from, -1);
      if (extent.begin < moved.begin) {
        out.push_back(clip(extent, extent.begin, moved.begin));
        counts.home(home.from, 1);
      }
      const size_t before = out.size();
      if (moved.alias)
        move_data(moved, out, changed);
      else if (home.to != Generation::none)
        out.push_back(moved);
      if (out.size() > before) counts.home(home.to, static_cast<int64_t>(out.size() - before));
      if (moved.end < extent.end) {
        out.push_back(clip(extent, moved.end, extent.end));
        counts.home(home.from, 1);
      }
      changed = true;
    }
    extents = std::move(out);
  }
}

bool Relocations::apply(NodeId leaf, std::vector<Extent>& extents, LiveCounts& counts) const {
  bool changed = false;
  if (!data_.empty()) {
    std::vector<Extent> out;
    out.reserve(extents.size() + 8);
    for (const Extent& extent : extents) {
      if (extent.kind == ExtentKind::data && !extent.alias)
        move_data(extent, out, changed);
      else
        out.push_back(extent);
    }
    if (changed) extents = std::move(out);
  }
  if (const auto homes = homes_.find(leaf); homes != homes_.end())
    move_home(homes->second, extents, counts, changed);
  if (!changed) return false;
  std::vector<Extent> merged;
  merged.reserve(extents.size());
  for (const Extent& extent : extents) append_extent(merged, extent, counts);
  extents = std::move(merged);
  return true;
}

}  // namespace lamina
