// SPDX-License-Identifier: Apache-2.0
#include "engine/space/reach.h"

#include <algorithm>
#include <string>

#include "base/check.h"
#include "base/executor.h"
#include "engine/maps/node_format.h"
#include "engine/maps/read_ahead.h"
#include "engine/mutation.h"

namespace lamina {
namespace {

constexpr uint32_t several_bit = uint32_t{1} << 31, snapshots_bit = uint32_t{1} << 30;
constexpr uint32_t map_bits = snapshots_bit - 1;
constexpr size_t nodes_ahead = 32;
constexpr size_t nodes_a_turn = 16;  // between two chances for others to run

uint64_t place_of(const NodeEntry& entry) {
  return uint64_t{raw(entry.copies[0].generation)} << 32 | entry.copies[0].block;
}

void sort_by_place(std::vector<Reach::Leaf>& nodes) {
  std::ranges::sort(nodes, {}, &Reach::Leaf::place);
}

class Levels {
 public:
  Levels(NodeStore& nodes, const Image& image, std::function<Result<>()> go_on, Reach& out)
      : nodes_(nodes), image_(image), go_on_(std::move(go_on)), out_(out) {}

  Task<Result<>> run(const std::set<MapId>& snapshots) {
    for (uint32_t map = 0; map < image_.maps.size(); ++map) {
      const NodeOwners::Owner owner{map, false, snapshots.contains(image_.maps[map].map)};
      if (image_.maps[map].root != NodeId::none)
        LAMINA_CO_TRY(add(image_.maps[map].root, -1, owner));
    }
    // All who reach a node lie one level above it, so its owner is known when its turn comes.
    for (size_t level = node_format::max_level; level > 0; --level)
      LAMINA_CO_TRY(co_await read_level(level));
    sort_by_place(levels_[0]);
    out_.leaves = std::move(levels_[0]);
    co_return Result<>{};
  }

 private:
  // `level`: what it must be; -1: anything.
  Result<> add(NodeId id, int level, NodeOwners::Owner owner) {
    const NodeEntry* entry = image_.nodes.find(id);
    if (!entry || (level >= 0 && entry->level != level))
      return fail(Code::corrupt, "node " + std::to_string(raw(id)) +
                                     " is not in the node table, or of another level there");
    if (!out_.owners.add(id, owner)) return {};
    ++out_.nodes;
    levels_[entry->level].push_back({place_of(*entry), id});
    return {};
  }

  Task<Result<>> read_level(size_t level) {
    std::vector<Reach::Leaf>& at = levels_[level];
    sort_by_place(at);
    ReadAhead ahead(nodes_, false, nodes_ahead);
    size_t started = 0;
    Result<> result;
    for (size_t taken = 0; result && taken < at.size(); ++taken) {
      for (; started < at.size() && !ahead.full(); ++started)
        ahead.start(at[started].id, image_.nodes.at(at[started].id));
      Task<Result<NodeBlock>> taking = ahead.take();
      Result<NodeBlock> block = co_await taking;
      if (!block && mutated(Mutation::skip_bad_nodes)) continue;
      if (block)
        result = add_children(at[taken].id, (*block)->span());
      else
        result = forward_error(block);
      if (taken % nodes_a_turn != nodes_a_turn - 1) continue;
      co_await Yield{};
      if (result) result = go_on_();
    }
    Task<void> draining = ahead.drain();
    co_await draining;
    at = {};
    co_return result;
  }

  Result<> add_children(NodeId id, std::span<const std::byte> block) {
    Result<Node> node = unpack_node(block);
    if (!node) return forward_error(node);
    const NodeOwners::Owner owner = out_.owners.at(id);
    for (const Child& child : node->children)
      LAMINA_TRY(add(child.id, static_cast<int>(node->header.level) - 1, owner));
    return {};
  }

  NodeStore& nodes_;
  const Image& image_;
  const std::function<Result<>()> go_on_;
  Reach& out_;
  std::array<std::vector<Reach::Leaf>, node_format::max_level + 1> levels_;
};

}  // namespace

bool NodeOwners::reached(NodeId id) const {
  const uint64_t number = raw(id);
  const Chunk* chunk = number / fanout < chunks_.size() ? chunks_[number / fanout].get() : nullptr;
  return chunk && (*chunk)[number % fanout] != 0;
}

NodeOwners::Owner NodeOwners::at(NodeId id) const {
  LAMINA_CHECK(reached(id));
  const uint32_t value = (*chunks_[raw(id) / fanout])[raw(id) % fanout];
  return {(value & map_bits) - 1, (value & several_bit) != 0, (value & snapshots_bit) != 0};
}

bool NodeOwners::add(NodeId id, Owner owner) {
  std::unique_ptr<Chunk>& chunk = chunks_.at(raw(id) / fanout);
  if (!chunk) chunk = std::make_unique<Chunk>();
  uint32_t& value = (*chunk)[raw(id) % fanout];
  const uint32_t others = owner.several ? several_bit : 0;
  if (value == 0) {
    value = (owner.map + 1) | others | (owner.snapshots ? snapshots_bit : 0);
    return true;
  }
  if ((value & map_bits) != owner.map + 1) value |= several_bit;
  value |= others;
  if (!owner.snapshots) value &= ~snapshots_bit;
  return false;
}

Task<Result<>> reach(NodeStore& nodes, const Image& image, const std::set<MapId>& snapshots,
                     std::function<Result<>()> go_on, Reach& out) {
  Levels levels(nodes, image, std::move(go_on), out);
  Task<Result<>> running = levels.run(snapshots);
  co_return co_await running;
}

}  // namespace lamina
