// SPDX-License-Identifier: Apache-2.0
#include "engine/repair/replay.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "base/check.h"

namespace lamina {

bool states_a_range(const Entry& entry) {
  if (entry.length.value == 0) return false;  // a counter alone (D8)
  return entry.kind == EntryKind::write || entry.kind == EntryKind::zero ||
         entry.kind == EntryKind::alias || entry.kind == EntryKind::lost ||
         entry.kind == EntryKind::reserve;
}

namespace {

// Where entries state more than a zero: ranges that do not touch, begin to end.
std::map<DeviceBlock, DeviceBlock> stated_ranges(const Scan& scan) {
  std::vector<BlockRange> all;
  for (const auto& [entry, epoch, segment] : scan.entries)
    if (entry.kind != EntryKind::zero && entry.kind != EntryKind::reserve)
      all.push_back({entry.begin, entry.begin + entry.length});
  std::ranges::sort(all);
  std::map<DeviceBlock, DeviceBlock> out;
  for (const BlockRange& range : all) {
    if (out.empty() || out.rbegin()->second < range.begin)
      out.emplace_hint(out.end(), range.begin, range.end);
    else
      out.rbegin()->second = std::max(out.rbegin()->second, range.end);
  }
  return out;
}

Extent extent_of(const Scan& scan, const Entry& entry, Generation generation) {
  Extent extent;
  extent.begin = entry.begin;
  extent.end = entry.begin + entry.length;
  extent.home = generation;
  switch (entry.kind) {
    case EntryKind::write:
      extent.kind = ExtentKind::data;
      extent.address = {generation, entry.offset};
      extent.home = Generation::none;
      break;
    case EntryKind::alias:
      if (!is_origin(entry.address) && !scan.by_generation.contains(entry.address.generation)) {
        extent.kind = ExtentKind::lost;
        break;
      }
      extent.kind = ExtentKind::data;
      extent.alias = true;
      extent.address = entry.address;
      break;
    case EntryKind::lost:
      extent.kind = ExtentKind::lost;
      break;
    default:
      extent.kind = ExtentKind::zero;
      extent.reserved = entry.kind == EntryKind::reserve;
      break;
  }
  return extent;
}

class Replay {
 public:
  Replay(const Scan& scan, const Lineage& lineage, ImagePtr image)
      : scan_(scan), image_(std::move(image)) {
    for (const LineageRow& row : lineage) rows_.emplace(row.map, row);
  }

  std::unordered_map<MapId, std::shared_ptr<ThinMap>> run(const std::vector<ReplayedMap>& wanted) {
    for (const ReplayedMap& one : wanted) want(one.map, one.device);
    std::stable_sort(forks_.begin(), forks_.end(), [](const LineageRow& a, const LineageRow& b) {
      return a.forked_at < b.forked_at;
    });
    std::vector<const ScannedEntry*> entries;
    for (const ScannedEntry& scanned : scan_.entries)
      if (states_a_range(scanned.entry) && wanted_.contains(scanned.entry.map))
        entries.push_back(&scanned);
    std::stable_sort(
        entries.begin(), entries.end(),
        [&](const ScannedEntry* a, const ScannedEntry* b) { return before(scan_, *a, *b); });
    for (const ScannedEntry* scanned : entries) {
      fork_before(scanned->entry.sequence);
      map(scanned->entry.map)
          .insert(extent_of(scan_, scanned->entry, scan_.generation_of(*scanned)));
    }
    fork_before(UINT64_MAX);
    std::unordered_map<MapId, std::shared_ptr<ThinMap>> out;
    for (const ReplayedMap& one : wanted) {
      (void)map(one.map);
      out[one.map] = maps_.at(one.map);
    }
    return out;
  }

 private:
  // It, and what it descends from.
  void want(MapId map, DeviceId device) {
    if (!wanted_.emplace(map, device).second) return;
    const auto row = rows_.find(map);
    if (row == rows_.end()) return;
    forks_.push_back(row->second);
    want(row->second.parent, DeviceId::none);
  }

  // A fork is an entry of its own: what comes before it has a smaller number.
  void fork_before(Sequence sequence) {
    for (; next_fork_ < forks_.size() && forks_[next_fork_].forked_at < sequence; ++next_fork_) {
      const LineageRow& row = forks_[next_fork_];
      maps_[row.map] = map(row.parent).fork(row.map, device_of(row.map), row.forked_at);
    }
  }

  DeviceId device_of(MapId map) const { return wanted_.at(map); }

  ThinMap& map(MapId id) {
    std::shared_ptr<ThinMap>& made = maps_[id];
    if (!made) made = std::make_shared<ThinMap>(id, device_of(id), image_, NodeId::none, 0, 0);
    return *made;
  }

  const Scan& scan_;
  const ImagePtr image_;
  std::unordered_map<MapId, LineageRow> rows_;
  std::unordered_map<MapId, DeviceId> wanted_;
  std::vector<LineageRow> forks_;
  size_t next_fork_ = 0;
  std::unordered_map<MapId, std::shared_ptr<ThinMap>> maps_;
};

}  // namespace

std::unordered_map<MapId, std::shared_ptr<ThinMap>> replay_maps(
    const Scan& scan, const Lineage& lineage, const std::vector<ReplayedMap>& wanted,
    const ImagePtr& image) {
  return Replay(scan, lineage, image).run(wanted);
}

std::vector<Extent> replay_range(const Scan& scan, const Lineage& lineage, MapId map,
                                 BlockRange range, NodeStore& nodes) {
  const std::vector<ReplayedMap> wanted{{map, DeviceId::none}};
  const auto maps = replay_maps(scan, lineage, wanted, std::make_shared<Image>());
  ThinMap::Resolved found;
  LAMINA_CHECK(maps.at(map)->try_resolve(nodes, range, found));  // there is no tree to wait for
  const std::map<DeviceBlock, DeviceBlock> stated = stated_ranges(scan);
  const auto hides = [&](const Extent& zero) {
    const auto behind = stated.lower_bound(zero.end);
    return behind != stated.begin() && zero.begin < std::prev(behind)->second;
  };
  std::erase_if(found.extents, [&](const Extent& extent) {
    return extent.kind == ExtentKind::zero && !extent.reserved && !hides(extent);
  });
  std::vector<Extent> out;
  for (Extent& extent : found.extents) {
    extent.certain = false;
    if (!out.empty() && continues(out.back(), extent))
      out.back().end = extent.end;
    else
      out.push_back(extent);
  }
  return out;
}

}  // namespace lamina
