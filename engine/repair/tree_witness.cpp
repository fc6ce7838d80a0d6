// SPDX-License-Identifier: Apache-2.0
#include "engine/repair/tree_witness.h"

#include <algorithm>
#include <optional>
#include <set>
#include <unordered_map>

#include "base/buffer.h"
#include "engine/maps/leaf_changes.h"
#include "engine/maps/node.h"
#include "engine/repair/unproven.h"

namespace lamina {
namespace {

class Trees {
 public:
  Trees(const Scan& scan, const std::vector<SegmentName>& untold) : scan_(scan) {
    for (const SegmentName& name : untold) untold_.insert(name.generation);
    for (const Segment& row : scan.tables.segments) {
      places_.emplace(row.name.generation, row.name);
      if (is_published(row, scan.tables)) published_.insert(row.name.generation);
    }
    for (const ScannedEntry& scanned : scan.entries) {
      const Generation generation = scan.generation_of(scanned);
      if (!has_payload(scanned.entry) || !untold_.contains(generation)) continue;
      std::vector<bool>& told = told_[generation];
      const size_t end = scanned.entry.offset + scanned.entry.length.value;
      if (told.size() < end) told.resize(end);
      std::fill(told.begin() + scanned.entry.offset, told.begin() + static_cast<ptrdiff_t>(end),
                true);
    }
  }

  // What is below a node: ranges of which nobody tells the data, or that cannot be read, and
  // extents that nothing else states.
  struct Below {
    std::vector<BlockRange> doubted;
    std::vector<Extent> facts;
  };
  Task<const Below*> below(NodeId id, BlockRange range) {
    const auto [at, fresh] = known_.try_emplace(id);
    Below& out = at->second;
    if (!fresh) co_return &out;
    auto reading = read(id);
    const std::optional<Node> node = co_await reading;
    if (!node) {
      out.doubted.push_back(range);
      co_return &out;
    }
    for (const Extent& extent : node->extents) {
      const bool homeless =
          has_home(extent) && extent.home != Generation::none && gone(extent.home);
      if (data_is_gone(extent) || (homeless && !is_fact(extent)))
        out.doubted.push_back(extent.range());
      else if (homeless)
        out.facts.push_back(extent);
    }
    for (size_t i = 0; i < node->children.size(); ++i) {
      const Child& child = node->children[i];
      const bool last = i + 1 == node->children.size();
      const DeviceBlock end = last ? node->header.end : node->children[i + 1].begin;
      auto looking = below(child.id, {child.begin, end});
      const Below* const of_child = co_await looking;
      out.doubted.insert(out.doubted.end(), of_child->doubted.begin(), of_child->doubted.end());
      out.facts.insert(out.facts.end(), of_child->facts.begin(), of_child->facts.end());
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
  static bool in_segment(const Extent& extent) {
    return extent.stored() && !is_origin(extent.address);
  }
  bool data_is_gone(const Extent& extent) const {
    return in_segment(extent) && gone(extent.address.generation) && !told(extent);
  }
  // What the mover had made for a checkpoint that may never have come true was stated before.
  bool is_fact(const Extent& extent) const {
    return published_.contains(extent.home) &&
           (!in_segment(extent) || published_.contains(extent.address.generation));
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
  std::set<Generation> untold_, published_;
  std::unordered_map<Generation, std::vector<bool>> told_;  // blocks, of those
  std::unordered_map<Generation, SegmentName> places_;
  std::map<NodeId, Below> known_;
};

Entry entry_of(const Extent& extent, const DeviceRow& device, Sequence cut) {
  Entry entry;
  entry.sequence = cut;
  entry.map = device.map;
  entry.begin = extent.begin;
  entry.length = extent.length();
  if (extent.alias) {
    entry.kind = EntryKind::alias;
    entry.address = extent.address;
    entry.source_map = device.map;
  } else if (extent.kind == ExtentKind::lost) {
    entry.kind = EntryKind::lost;
  } else if (extent.reserved) {
    entry.kind = EntryKind::reserve;
    entry.device = device.id;
    entry.size_bytes = device.reserved_blocks;
  } else {
    entry.kind = EntryKind::zero;
  }
  return entry;
}

bool continues(const Entry& left, const Entry& right) {
  return left.kind == right.kind && left.map == right.map &&
         left.begin + left.length == right.begin &&
         (left.kind != EntryKind::alias || left.address + left.length == right.address);
}

// Of a map, in order; what lies side by side is one.
std::vector<ScannedEntry> entries_of(const std::vector<Extent>& facts, const DeviceRow& row,
                                     const Scan& scan) {
  std::vector<ScannedEntry> out;
  for (const Extent& fact : facts) {
    Entry entry = entry_of(fact, row, scan.tables.cut);
    if (!out.empty() && continues(out.back().entry, entry))
      out.back().entry.length = entry.begin + entry.length - out.back().entry.begin;
    else
      out.push_back({std::move(entry), scan.epoch, ScannedEntry::nowhere});
  }
  return out;
}

}  // namespace

Task<DoubtedByTrees> ask_trees(Scan& scan, const std::vector<SegmentName>& untold, size_t most) {
  DoubtedByTrees doubted;
  if (untold.empty()) co_return doubted;
  std::vector<ScannedEntry> facts;
  Trees trees(scan, untold);
  for (const DeviceRow& row : scan.tables.devices) {
    if (row.root == NodeId::none) continue;
    auto looking = trees.below(row.root, everything);
    const Trees::Below* const found = co_await looking;
    if (!found->doubted.empty()) doubted[row.map] = found->doubted;
    std::vector<ScannedEntry> of_map = entries_of(found->facts, row, scan);
    if (facts.size() + of_map.size() <= most)
      std::ranges::move(of_map, std::back_inserter(facts));
    else
      for (const Extent& fact : found->facts) doubted[row.map].push_back(fact.range());
  }
  std::ranges::move(facts, std::back_inserter(scan.entries));
  co_return doubted;
}

}  // namespace lamina
