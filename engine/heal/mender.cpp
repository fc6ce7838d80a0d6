// SPDX-License-Identifier: Apache-2.0
#include "engine/heal/mender.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <unordered_map>

#include "engine/heal/same_content.h"
#include "engine/log/records.h"
#include "engine/log/seal.h"
#include "engine/pool_state.h"
#include "engine/repair/replay.h"
#include "engine/space/read_summary.h"

namespace lamina {
namespace {

constexpr size_t nodes_mended_a_turn = 16;  // between two chances for others to run
constexpr BlockRange whole_device{DeviceBlock{0}, device_end};

std::unexpected<Error> cannot_tell(const std::string& why) {
  return fail(Code::corrupt, why);
}

// Whether the image may refer to what lies in it.
bool may_refer_to(const Segment& row, const Image& image) {
  if (!row.holds_data() || row.use == SegmentUse::retired || row.use == SegmentUse::free)
    return false;
  if (row.dead_in != 0 && row.dead_in <= image.number) return false;
  return row.kind == SegmentClass::log || (row.settled != 0 && row.settled <= image.cut);
}

// Its entries, in whichever way they can be had.
Task<Result<std::vector<Entry>>> read_entries(PoolState& pool, const Segment& row, Epoch& epoch) {
  if (row.use != SegmentUse::open) {
    auto summary = co_await read_summary(pool, row.name.generation);
    if (summary && row.kind == SegmentClass::log && lacks_entries(*summary))
      co_return cannot_tell("entries of a log segment are missing");
    if (summary) {
      epoch = summary->epoch;
      co_return std::move(summary->entries);
    }
    if (row.kind != SegmentClass::log) co_return forward_error(summary);
  }
  auto segment = co_await read_by_records(pool, row);
  // Of the log there are segments that were named and never written.
  if (!segment && row.use == SegmentUse::open && segment.error().code == Code::corrupt)
    co_return std::vector<Entry>();
  if (!segment) co_return forward_error(segment);
  epoch = (*segment)->epoch;
  co_return std::move((*segment)->entries);
}

using Candidates = std::multimap<DeviceBlock, NodeBlock>;

// In how many ways they tile the range, 2 for more than one; `out`: the last of them.
int tile(const Candidates& candidates, BlockRange range, std::vector<NodeHeader>& out) {
  std::map<DeviceBlock, int> ways{{range.end, 1}};
  std::map<DeviceBlock, NodeHeader> next;
  for (auto at = candidates.rbegin(); at != candidates.rend(); ++at) {
    const NodeHeader header = NodeView(at->second->span()).header();
    const auto behind = ways.find(header.end);
    if (behind == ways.end()) continue;
    const int more = behind->second;
    int& here = ways[header.begin];
    here = std::min(2, here + more);
    next.insert_or_assign(header.begin, header);
  }
  const auto found = ways.find(range.begin);
  if (found == ways.end()) return 0;
  out.clear();
  for (DeviceBlock at = range.begin; at < range.end; at = out.back().end)
    out.push_back(next.at(at));
  return found->second;
}

// Those leaves alone that say what the segments say.
Task<Result<>> drop_untrue(PoolState& pool, ImagePtr image, MapId map, BlockRange range,
                           Candidates& candidates) {
  Task<Result<Scan>> scanning = scan_range(pool, image, map, range);
  Result<Scan> scan = co_await scanning;
  if (!scan) co_return forward_error(scan);
  const std::vector<Extent> said = replay_range(*scan, image->lineage, map, range, pool.nodes);
  const WrittenBy written(*scan);
  for (auto at = candidates.begin(); at != candidates.end();) {
    const Result<Node> node = unpack_node(at->second->span());
    bool same = node.has_value();
    if (same) {
      const BlockRange here{node->header.begin, node->header.end};
      std::vector<Extent> clipped;
      for (const Extent& extent : said)
        if (extent.begin < here.end && here.begin < extent.end)
          clipped.push_back(
              clip(extent, std::max(extent.begin, here.begin), std::min(extent.end, here.end)));
      same = same_content(here, node->extents, clipped, written);
    }
    at = same ? std::next(at) : candidates.erase(at);
  }
  co_return Result<>{};
}

}  // namespace

Task<Result<NodePlace>> find_place(PoolState& pool, ImagePtr image, NodeId id, uint32_t level) {
  NodePlace place;
  std::unordered_map<NodeId, std::vector<NodeId>> parents;  // of inner nodes, and of the one
  std::unordered_set<NodeId> seen;
  std::vector<NodeId> waiting;
  const uint32_t lowest = std::max(level, 1u);  // that is read
  bool found = false;
  const auto meet = [&](NodeId node) {
    const NodeEntry* entry = image->nodes.find(node);
    if (entry && node != id && entry->level >= lowest && seen.insert(node).second)
      waiting.push_back(node);
  };
  for (const ImageMap& map : image->maps) {
    if (map.root == id) place.range = whole_device;
    found = found || map.root == id;
    if (map.root != NodeId::none) meet(map.root);
  }
  for (size_t read = 0; !waiting.empty(); ++read) {
    const NodeId at = waiting.back();
    waiting.pop_back();
    const NodeEntry entry = image->nodes.at(at);
    NodeBlock block = pool.nodes.try_get(entry, false);
    if (!block) {
      Task<Result<NodeBlock>> reading = pool.nodes.get_as_it_is(at, entry);
      Result<NodeBlock> got = co_await reading;
      if (!got) {  // another one that is lost; who looks through it mends it first
        place.all_seen = false;
        continue;
      }
      block = std::move(*got);
    }
    const Result<Node> node = unpack_node(block->span());
    if (!node) continue;
    const std::vector<Child>& children = node->children;
    for (size_t i = 0; i < children.size(); ++i) {
      const NodeId child = children[i].id;
      if (entry.level == level) place.taken.insert(child);
      if (child == id) {
        place.range = {children[i].begin,
                       i + 1 < children.size() ? children[i + 1].begin : node->header.end};
        found = true;
      }
      if (child == id || entry.level > lowest) parents[child].push_back(at);
      meet(child);
    }
    if (read % nodes_mended_a_turn == nodes_mended_a_turn - 1) co_await Yield{};
  }
  if (!found) co_return cannot_tell("no map refers to it, or what does is lost as well");
  // Whoever is above it has it.
  std::unordered_set<NodeId> above{id};
  for (std::vector<NodeId> up{id}; !up.empty();) {
    const NodeId at = up.back();
    up.pop_back();
    for (const NodeId parent : parents[at])
      if (above.insert(parent).second) up.push_back(parent);
  }
  for (const ImageMap& map : image->maps)
    if (above.contains(map.root)) place.maps.push_back(map.map);
  if (place.maps.empty()) co_return cannot_tell("no map refers to it");
  co_return place;
}

Task<Result<Scan>> scan_range(PoolState& pool, ImagePtr image, MapId map, BlockRange range) {
  Scan scan;
  {
    Lock order(pool.log.order());
    scan.cuts = pool.epochs;
  }
  std::unordered_map<MapId, Sequence> limits;
  for (const Sight& sight : sights(image->lineage, map))
    limits[sight.map] = std::min(sight.limit, image->cut);
  for (const Segment& row : pool.space.segments()) {
    if (!may_refer_to(row, *image)) continue;
    ScannedSegment segment;
    segment.header.generation = row.name.generation;
    segment.header.kind = row.kind;
    segment.header.state = SegmentState::sealed;
    Epoch epoch = 0;
    Task<Result<std::vector<Entry>>> reading = read_entries(pool, row, epoch);
    Result<std::vector<Entry>> entries = co_await reading;
    if (!entries) {
      const auto now = pool.space.segment(row.name.generation);
      if (!now || !may_refer_to(*now, *image)) continue;
      if (entries.error().code == Code::io) co_return forward_error(entries);
      // It may have held something newer than all that is found (B2).
      co_return cannot_tell("nobody can tell what a segment holds: " + entries.error().message);
    }
    const size_t index = scan.segments.size();
    scan.by_generation[row.name.generation] = index;
    scan.segments.push_back(std::move(segment));
    for (Entry& entry : *entries) {
      const auto limit = limits.find(entry.map);
      if (!states_a_range(entry) || limit == limits.end() || entry.sequence > limit->second)
        continue;
      const BlockRange said{entry.begin, entry.begin + entry.length};
      if (said.end <= range.begin || range.end <= said.begin) continue;
      if (is_void(scan.cuts, epoch, entry.sequence)) continue;
      scan.entries.push_back({std::move(entry), epoch, index});
    }
  }
  std::stable_sort(scan.entries.begin(), scan.entries.end(),
                   [](const ScannedEntry& a, const ScannedEntry& b) {
                     return a.entry.sequence < b.entry.sequence;
                   });
  co_return scan;
}

Task<Result<Node>> mend_leaf(PoolState& pool, ImagePtr image, NodeEntry entry, NodePlace place) {
  Node node;
  node.header.map = place.maps.front();
  node.header.begin = place.range.begin;
  node.header.end = place.range.end;
  Task<Result<Scan>> scanning = scan_range(pool, image, node.header.map, place.range);
  Result<Scan> scan = co_await scanning;
  if (!scan) co_return forward_error(scan);
  node.extents = replay_range(*scan, image->lineage, node.header.map, place.range, pool.nodes);
  for (const Extent& extent : node.extents)
    if (extent.stored()) node.header.mapped_blocks += extent.length().value;
  if (entry.mapped_blocks != std::numeric_limits<uint32_t>::max() &&
      entry.mapped_blocks != node.header.mapped_blocks)
    co_return cannot_tell("it had " + std::to_string(entry.mapped_blocks) + " blocks, but " +
                          std::to_string(node.header.mapped_blocks) + " are found");
  if (!fits(node)) co_return cannot_tell("what is found of it takes more than a node");
  if (pool.newest_image() != image) co_return node;  // and whoever asks holds that image
  Lock order(pool.log.order());
  const Sequence now = pool.log.last();
  for (const Extent& extent : node.extents) {
    const bool alive =
        (!extent.stored() || pool.space.share_if_alive(extent.address.generation, now)) &&
        (extent.home == Generation::none || pool.space.share_if_alive(extent.home, now));
    if (!alive) co_return cannot_tell("a segment that it needs is gone");
  }
  co_return node;
}

Task<Result<Node>> mend_inner(PoolState& pool, ImagePtr image, NodeEntry entry, NodePlace place) {
  std::vector<std::pair<NodeId, NodeEntry>> loose;
  image->nodes.for_each([&](NodeId id, const NodeEntry& one) {
    if (one.level + 1 == entry.level && !place.taken.contains(id)) loose.emplace_back(id, one);
  });
  Candidates candidates;
  bool all_there = place.all_seen;
  for (size_t i = 0; i < loose.size(); ++i) {
    const auto& [id, one] = loose[i];
    Task<Result<NodeBlock>> reading = pool.nodes.get_as_it_is(id, one);
    const Result<NodeBlock> block = co_await reading;
    if (i % nodes_mended_a_turn == nodes_mended_a_turn - 1) co_await Yield{};
    all_there = all_there && block.has_value();
    if (!block) continue;
    const NodeHeader header = NodeView((*block)->span()).header();
    if (place.range.begin <= header.begin && header.end <= place.range.end)
      candidates.emplace(header.begin, *block);
  }
  std::vector<NodeHeader> children;
  int ways = tile(candidates, place.range, children);
  if (entry.level == 1 && (ways > 1 || (ways == 1 && !all_there))) {
    Task<Result<>> dropping = drop_untrue(pool, image, place.maps.front(), place.range, candidates);
    LAMINA_CO_TRY(co_await dropping);
    ways = std::min(1, tile(candidates, place.range, children));  // all of them say the same
    all_there = true;
  }
  if (ways == 0) co_return cannot_tell("its children are not all there");
  if (ways > 1 || !all_there) co_return cannot_tell("its children could be several");
  Node node;
  node.header.map = place.maps.front();
  node.header.begin = place.range.begin;
  node.header.end = place.range.end;
  node.header.level = entry.level;
  for (const NodeHeader& child : children) {
    node.children.push_back({child.begin, child.id});
    node.header.mapped_blocks += child.mapped_blocks;
  }
  if (entry.mapped_blocks != std::numeric_limits<uint32_t>::max() &&
      entry.mapped_blocks != node.header.mapped_blocks)
    co_return cannot_tell("the children that are found have other blocks than it had");
  if (!fits(node)) co_return cannot_tell("it has too many children");
  co_return node;
}

}  // namespace lamina
