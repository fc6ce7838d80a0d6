// SPDX-License-Identifier: Apache-2.0
#include "engine/repair/doubts.h"

#include <algorithm>
#include <optional>
#include <set>
#include <unordered_map>

#include "base/buffer.h"
#include "engine/maps/layer.h"
#include "engine/maps/leaf_changes.h"
#include "engine/maps/node.h"
#include "engine/repair/replay.h"

namespace lamina {
namespace {

constexpr BlockRange everything{DeviceBlock{0}, DeviceBlock{max_device_bytes / block_size}};

// What the trees of the newest tables' checkpoint say of segments that are gone.
class Witness {
 public:
  Witness(const Scan& scan, const std::vector<SegmentName>& untold) : scan_(scan) {
    for (const SegmentName& name : untold) untold_.insert(name.generation);
    for (const Segment& row : scan.tables.segments) places_.emplace(row.name.generation, row.name);
    for (const ScannedEntry& scanned : scan.entries) {
      const Generation generation = scan.segments[scanned.segment].header.generation;
      if (!has_payload(scanned.entry) || !untold_.contains(generation)) continue;
      std::vector<bool>& told = told_[generation];
      const size_t end = scanned.entry.offset + scanned.entry.length.value;
      if (told.size() < end) told.resize(end);
      std::fill(told.begin() + scanned.entry.offset, told.begin() + static_cast<ptrdiff_t>(end),
                true);
    }
  }

  // Ranges below that node which refer to one, or cannot be read.
  Task<const std::vector<BlockRange>*> below(NodeId id, BlockRange range) {
    const auto [at, fresh] = known_.try_emplace(id);
    std::vector<BlockRange>& out = at->second;
    if (!fresh) co_return &out;
    auto reading = read(id);
    const std::optional<Node> node = co_await reading;
    if (!node) {
      out.push_back(range);
      co_return &out;
    }
    for (const Extent& extent : node->extents)
      if (refers_to_gone(extent)) out.push_back(extent.range());
    for (size_t i = 0; i < node->children.size(); ++i) {
      const Child& child = node->children[i];
      const bool last = i + 1 == node->children.size();
      const DeviceBlock end = last ? node->header.end : node->children[i + 1].begin;
      auto looking = below(child.id, {child.begin, end});
      const std::vector<BlockRange>* const of_child = co_await looking;
      out.insert(out.end(), of_child->begin(), of_child->end());
    }
    co_return &out;
  }

 private:
  bool gone(Generation generation) const {
    return untold_.contains(generation) || !scan_.by_generation.contains(generation);
  }
  // Something is left of the segment, and it tells of these blocks.
  bool told(const Extent& extent) const {
    const auto found = told_.find(extent.address.generation);
    if (found == told_.end()) return false;
    const std::vector<bool>& blocks = found->second;
    const uint64_t end = extent.address.block + extent.length().value;
    if (end > blocks.size()) return false;
    return std::all_of(blocks.begin() + extent.address.block,
                       blocks.begin() + static_cast<ptrdiff_t>(end), [](bool b) { return b; });
  }
  bool refers_to_gone(const Extent& extent) const {
    if (extent.kind == ExtentKind::lost) return false;
    if (extent.stored() && gone(extent.address.generation) && !told(extent)) return true;
    return has_home(extent) && extent.home != Generation::none && gone(extent.home);
  }

  Task<std::optional<Node>> read(NodeId id) {
    const NodeEntry* const entry = scan_.tables.nodes.find(id);
    if (!entry) co_return std::nullopt;
    Buffer block(block_size);
    for (const Address& copy : entry->copies) {
      const auto place = places_.find(copy.generation);
      Blob* const blob = place == places_.end() ? nullptr : blob_of(place->second.blob);
      if (!blob || place->second.index >= blob->segment_count() ||
          copy.block >= blob->segment_blocks())
        continue;
      const SegmentName& name = place->second;
      IoBatch batch;
      batch.read(blob->disk(), blob->offset(name.index, copy.block), block.span());
      co_await batch;
      const MetadataPlace key{name.blob, name.index, name.generation, copy.block};
      if (!batch.ok() || !verify_node(block.span(), blob->superblock().secret, key)) continue;
      auto node = unpack_node(block.span());
      if (node && node->header.id == id && node->header.checkpoint == entry->checkpoint &&
          node->header.level == entry->level)
        co_return std::move(*node);
    }
    co_return std::nullopt;
  }

  Blob* blob_of(BlobId id) const {
    for (Blob* blob : scan_.blobs)
      if (blob->id() == id) return blob;
    return nullptr;
  }

  const Scan& scan_;
  std::set<Generation> untold_;
  std::unordered_map<Generation, std::vector<bool>> told_;  // blocks, of those
  std::unordered_map<Generation, SegmentName> places_;
  std::map<NodeId, std::vector<BlockRange>> known_;
};

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
      const bool own = scan.segments[scanned.segment].header.kind == SegmentClass::log;
      if (entry.sequence <= scan.tables.cut || !own) continue;
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
      Layer inherited = parent == maps_.end() ? Layer{} : parent->second;
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
  for (const ScannedEntry& scanned : scan.entries) {
    const SegmentHeader& header = scan.segments[scanned.segment].header;
    if (header.kind == SegmentClass::log) newest = std::max(newest, header.generation);
  }
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

Task<Doubts> find_doubts(const Rebuilt& rebuilt, const std::vector<SegmentName>& untold,
                         Sequence doubted_through) {
  const Scan& scan = rebuilt.scan();
  if (untold.empty() && doubted_through == 0 && scan.tables.suspect.empty()) co_return Doubts{};
  DoubtReplay replay(rebuilt, doubted_through);
  std::map<DeviceId, MapId> maps;
  for (const DeviceRow& row : scan.tables.devices) maps[row.id] = row.map;
  for (const LostRange& suspect : scan.tables.suspect)
    if (const auto map = maps.find(suspect.device); map != maps.end())
      replay.doubt(map->second, suspect.range);
  if (!untold.empty()) {
    Witness witness(scan, untold);
    for (const DeviceRow& row : scan.tables.devices) {
      if (row.root == NodeId::none) continue;
      auto looking = witness.below(row.root, everything);
      const std::vector<BlockRange>* const ranges = co_await looking;
      for (const BlockRange& range : *ranges) replay.doubt(row.map, range);
    }
  }
  co_return replay.run();
}

}  // namespace lamina
