// SPDX-License-Identifier: Apache-2.0
#include "engine/repair/doubts.h"

#include <algorithm>

#include "engine/maps/layer.h"
#include "engine/repair/replay.h"

namespace lamina {
namespace {

// In the order of entries, beside what the maps are made of: `lost` in a layer is in doubt.
class DoubtReplay {
 public:
  DoubtReplay(const Rebuilt& rebuilt, Sequence through) : rebuilt_(rebuilt), through_(through) {
    const Sequence cut = rebuilt.scan().tables.cut;
    for (const LineageRow& row : rebuilt.lineage())
      if (row.forked_at > cut) forks_.push_back(row);
    std::ranges::stable_sort(forks_, {}, &LineageRow::forked_at);
  }

  void doubt(MapId map, BlockRange range) { put(maps_[map], range, ExtentKind::lost); }

  Doubts run() {
    const Scan& scan = rebuilt_.scan();
    for (const DeviceRow& row : scan.tables.devices) maps_.try_emplace(row.map);
    for (const ScannedEntry& scanned : scan.entries) {
      const Entry& entry = scanned.entry;
      // Only its own record says the number of each entry: neighbours that were moved may be one.
      if (entry.sequence <= scan.tables.cut || !scan.is_of_log(scanned)) continue;
      pass(entry.sequence);
      if (entry.kind == EntryKind::create || entry.kind == EntryKind::new_map)
        maps_.try_emplace(entry.map);
      const auto map = maps_.find(entry.map);
      if (map == maps_.end() || map->second.empty() || !states_a_range(entry)) continue;
      put(map->second, {entry.begin, entry.begin + entry.length}, ExtentKind::zero);
    }
    pass(UINT64_MAX);
    Doubts out;
    for (const auto& [id, device] : rebuilt_.devices()) {
      const auto map = maps_.find(device.row.map);
      if (map == maps_.end()) continue;
      std::vector<BlockRange> ranges = doubted(map->second, device.row.size_bytes);
      if (!ranges.empty()) out[device.row.map] = std::move(ranges);
    }
    return out;
  }

 private:
  static void put(Layer& layer, BlockRange range, ExtentKind kind) {
    if (range.empty()) return;
    Extent extent;
    extent.begin = range.begin;
    extent.end = range.end;
    extent.kind = kind;
    layer.insert(extent);
  }
  // Everything that came before that entry, but it.
  void pass(Sequence sequence) {
    for (; next_ < forks_.size() && forks_[next_].forked_at < sequence; ++next_) {
      if (forks_[next_].forked_at > through_) doubt_all();
      const auto parent = maps_.find(forks_[next_].parent);
      Layer inherited;
      if (parent != maps_.end())
        inherited = parent->second;
      else  // of what it was made nothing is left
        put(inherited, everything, ExtentKind::lost);
      maps_.insert_or_assign(forks_[next_].map, std::move(inherited));
    }
    if (sequence > through_) doubt_all();
  }
  void doubt_all() {
    if (through_ == 0 || all_doubted_) return;
    all_doubted_ = true;
    for (auto& [map, layer] : maps_) put(layer, everything, ExtentKind::lost);
  }
  static std::vector<BlockRange> doubted(const Layer& layer, uint64_t size_bytes) {
    std::vector<BlockRange> out;
    const DeviceBlock end{div_up(size_bytes, block_size)};
    layer.for_each([&](const Extent& extent) {
      const BlockRange range{extent.begin, std::min(extent.end, end)};
      if (extent.kind == ExtentKind::lost && range.begin < range.end) out.push_back(range);
    });
    return out;
  }

  const Rebuilt& rebuilt_;
  const Sequence through_;
  std::map<MapId, Layer> maps_;
  std::vector<LineageRow> forks_;
  size_t next_ = 0;
  bool all_doubted_ = false;
};

}  // namespace

Sequence doubted_through(const Scan& scan, const std::vector<SegmentName>& untold,
                         const MissingEntries& missing, Sequence end, bool gone_on) {
  if (gone_on) return std::max<Sequence>(end, 1);
  std::map<Generation, Sequence> settled;
  for (const Segment& row : scan.tables.segments) settled[row.name.generation] = row.settled;
  Generation newest = Generation::none;  // of the log, that something is known of
  for (const ScannedEntry& scanned : scan.entries)
    if (scan.is_of_log(scanned)) newest = std::max(newest, scan.generation_of(scanned));
  Sequence through = missing.last;
  for (const SegmentName& name : untold) {
    const auto row = settled.find(name.generation);
    const bool before_cut =
        row != settled.end() && row->second != 0 && row->second <= scan.tables.cut;
    // What it held of the log has numbers between those of its neighbours, if it has one behind it.
    if (!before_cut && newest <= name.generation) through = std::max<Sequence>(end, 1);
  }
  return through;
}

Doubts find_doubts(const Rebuilt& rebuilt, const DoubtedByTrees& by_trees,
                   Sequence doubted_through) {
  const Scan& scan = rebuilt.scan();
  if (by_trees.empty() && doubted_through == 0 && scan.tables.suspect.empty()) return {};
  DoubtReplay replay(rebuilt, doubted_through);
  std::map<DeviceId, MapId> maps;
  for (const DeviceRow& row : scan.tables.devices) maps[row.id] = row.map;
  for (const LostRange& suspect : scan.tables.suspect)
    if (const auto map = maps.find(suspect.device); map != maps.end())
      replay.doubt(map->second, suspect.range);
  for (const auto& [map, ranges] : by_trees)
    for (const BlockRange& range : ranges) replay.doubt(map, range);
  return replay.run();
}

}  // namespace lamina
