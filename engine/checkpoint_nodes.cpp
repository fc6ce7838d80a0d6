// SPDX-License-Identifier: Apache-2.0
// The nodes of a checkpoint: layers merged into the maps, and what is left in sparse segments of
// nodes written again.
#include <algorithm>
#include <cstring>
#include <limits>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "engine/checkpoint_parts.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

// A node segment with fewer live nodes than this part of what it could hold is emptied.
constexpr uint64_t sparse_percent = 50;
// Until the mover tries a segment again that shared leaves kept from being emptied.
constexpr uint64_t postponed_checkpoints = 32;
constexpr size_t leaving_nodes_at_once = 16384;

}  // namespace

Task<Result<>> Checkpointer::Made::put(const Node& node, std::vector<NodeId> sources) {
  Entry line;
  line.kind = EntryKind::node;
  line.node = node.header.id;
  line.birth = node.header.birth;
  line.checkpoint = number;
  auto places = co_await pool.writer.append(std::move(line));
  if (!places) co_return forward_error(places);
  auto block = std::make_shared<Buffer>(block_size);
  pack_node(node, block->span());
  for (size_t i = 0; i < 2; ++i) {
    std::memcpy(places->blocks[i].data(), block->data(), block_size);
    stamp_node(places->blocks[i], pool.identity.secret, places->keys[i]);
  }
  std::memcpy(block->data(), places->blocks[0].data(), block_size);
  NodeEntry entry;
  entry.copies = places->copies;
  entry.checkpoint = number;
  entry.level = static_cast<uint8_t>(node.header.level);
  entry.mapped_blocks = static_cast<uint32_t>(
      std::min<uint64_t>(node.header.mapped_blocks, std::numeric_limits<uint32_t>::max()));
  nodes.set(node.header.id, entry);
  ++nodes_put;
  pool.checkpointer.note_children(node.children);
  std::erase(sources, node.header.id);
  if (!sources.empty()) reshaped.push_back({{node.header.id, node.header.map}, std::move(sources)});
  pool.nodes.put(entry, std::move(block));
  co_return Result<>{};
}

Task<Result<>> Checkpointer::merge_all(Cut& cut, Made& made) {
  std::vector<DeviceRow>& rows = cut.tables.devices;
  std::vector<MergeWork> work;
  for (size_t i = 0; i < rows.size(); ++i)
    work.push_back({rows[i].map, rows[i].last_fork, rows[i].last_share, cut.stacks[i]});
  cut.moves.follow(std::exchange(cut.reshaped, {}));
  cut.moves.keep_shared(pool_.space);
  const bool all_follow = leaves_a_blob(cut.moves);
  LAMINA_CO_TRY(co_await made.merges.run(std::move(work), cut.moves.relocations, cut.moves.leaves,
                                         all_follow));
  if (!made.merges.unmoved().empty()) postpone(cut, made);
  uint64_t mapped = 0;
  bool shares = false;
  for (size_t i = 0; i < rows.size(); ++i) {
    ImageMap map = made.merges.result(cut.stacks[i]);
    map.map = rows[i].map;
    map.last_share = rows[i].last_share;
    map.extents = changed_by(map.extents, made.merges.moved_extents(map.map));
    rows[i].root = map.root;
    rows[i].mapped_blocks = map.mapped_blocks;
    rows[i].extents = map.extents;
    mapped += map.mapped_blocks;
    shares = shares || rows[i].last_share > 0;
    made.maps.push_back(map);
  }
  pool_.dead_blocks += made.merges.maybe_dead_blocks();
  // Without sharing the maps add up to what is used. Else it is what was used before and what came
  // in, until a walk counts it.
  made.left_behind = left_behind(cut.moves, made);
  cut.tables_added = made.added_blocks();
  Lock lock(mutex_);
  const uint64_t bound = changed_by(used_blocks(), cut.tables_added);
  cut.tables.used_blocks = shares ? std::min(mapped, bound) : mapped;
  co_return Result<>{};
}

bool Checkpointer::leaves_a_blob(const PendingMoves& moves) const {
  const std::optional<BlobId> leaving = pool_.space.leaving();
  return leaving && std::ranges::any_of(moves.victims, [&](Generation victim) {
           const auto name = pool_.space.find(victim);
           return name && name->blob == *leaving;
         });
}

// Where a leaf could not take its new pointers, its victim is not empty. It may be some time before
// that is different; but what is on a blob that is to be empty is tried again at once.
void Checkpointer::postpone(const Cut& cut, const Made& made) {
  if (!cut.moves.whole || leaves_a_blob(cut.moves)) return;
  for (const Generation victim : cut.moves.victims)
    pool_.space.postpone(victim, made.number + postponed_checkpoints);
}

// Moving a node is one entry of the table: what is left in the emptiest node segments is written
// again, so that they can be freed whole.
Task<Result<>> Checkpointer::rewrite_sparse_nodes(Made& made) {
  struct Count {
    uint64_t live = 0, blocks = 0;
  };
  std::unordered_map<uint32_t, Count> counts;
  for (const Segment& s : pool_.space.segments())
    if (s.kind == SegmentClass::nodes && s.use == SegmentUse::sealed)
      counts[raw(s.name.generation)].blocks = pool_.space.segment_blocks();
  made.nodes.for_each([&](NodeId, const NodeEntry& entry) {
    for (const Address& copy : entry.copies)
      if (const auto found = counts.find(raw(copy.generation)); found != counts.end())
        ++found->second.live;
  });
  uint64_t segments = counts.size(), live = 0;
  for (const auto& [generation, count] : counts) live += count.live;
  // Only where node segments as a whole are mostly garbage; each copy of a node counts.
  if (segments < 8 || live * 100 >= segments * pool_.space.segment_blocks() * sparse_percent)
    co_return Result<>{};
  std::vector<NodeId> moving;
  made.nodes.for_each([&](NodeId id, const NodeEntry& entry) {
    if (entry.checkpoint == made.number) return;
    for (const Address& copy : entry.copies) {
      const auto found = counts.find(raw(copy.generation));
      if (found == counts.end()) continue;
      if (found->second.live * 100 < found->second.blocks * sparse_percent) {
        moving.push_back(id);
        return;
      }
    }
  });
  co_return co_await rewrite_nodes(moving, made);
}

// Nodes with a copy on a blob that is being emptied get new places; so many at a time that a
// checkpoint does not take much longer for it. The old ones are free when no table names them.
Task<Result<>> Checkpointer::rewrite_leaving_nodes(Made& made) {
  const std::optional<BlobId> blob = pool_.space.leaving();
  if (!blob) co_return Result<>{};
  std::unordered_set<uint32_t> leaving;
  for (const Segment& s : pool_.space.segments())
    if (s.kind == SegmentClass::nodes && s.name.blob == *blob)
      leaving.insert(raw(s.name.generation));
  if (leaving.empty()) co_return Result<>{};
  std::vector<NodeId> moving;
  made.nodes.for_each([&](NodeId id, const NodeEntry& entry) {
    if (entry.checkpoint == made.number) return;  // it began to leave in the midst of this one
    const bool leaves = std::ranges::any_of(
        entry.copies, [&](const Address& copy) { return leaving.contains(raw(copy.generation)); });
    if (leaves && moving.size() < leaving_nodes_at_once) moving.push_back(id);
  });
  co_return co_await rewrite_nodes(moving, made);
}

// Nodes of which a copy has failed, or all copies, and which were made again: both are written
// anew, in other places, as if they had changed.
Task<Result<>> Checkpointer::rewrite_damaged_nodes(Made& made) {
  const std::vector<NodeId> moving = pool_.healer.nodes_to_write(made.nodes);
  co_return co_await rewrite_nodes(moving, made);
}

// What cannot be read stays where it is: that is for whoever looks into it to hear. Whoever makes
// nodes again is told before it is read, so that none is used for something else meanwhile.
Task<Result<>> Checkpointer::rewrite_nodes(const std::vector<NodeId>& moving, Made& made) {
  for (const NodeId id : moving) {
    const NodeEntry entry = made.nodes.at(id);
    if (entry.checkpoint == made.number) continue;
    {
      Lock lock(mutex_);
      rewriting_.insert(id);
    }
    auto block = co_await pool_.nodes.get_as_it_is(id, entry);
    if (!block) {
      Lock lock(mutex_);
      rewriting_.erase(id);
      continue;
    }
    auto node = unpack_node((*block)->span());
    if (!node) co_return forward_error(node);
    node->header.checkpoint = made.number;
    LAMINA_CO_TRY(co_await made.put(*node, {}));
  }
  co_return Result<>{};
}

}  // namespace lamina
