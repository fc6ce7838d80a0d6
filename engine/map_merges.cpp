// SPDX-License-Identifier: Apache-2.0
#include "engine/map_merges.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>

#include "base/check.h"
#include "engine/maps/read_ahead.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

constexpr size_t shrunk_part = 2;  // of its extents are left, or fewer: a leaf may be joined
// What one checkpoint may write to part those who share leaves: so many nodes, and no more than
// such a part of what it could write.
constexpr uint64_t parted_at_once = 4096, parted_part = 4;

}  // namespace

// What is covered is free only where nobody else can have it (A9); what may be is found by a walk.
class MapMerges::Counts final : public LiveCounts {
 public:
  Counts(MapMerges& merges, Sequence last_share)
      : merges_(merges), space_(merges.pool_.space), last_share_(last_share) {}

  void data(Generation generation, int64_t blocks) override {
    if (blocks < 0 && !space_.all_newer(generation, last_share_)) {
      merges_.maybe_dead_ += static_cast<uint64_t>(-blocks);
      return;
    }
    merges_.added_ += blocks;
    merges_.counts_.data(generation, blocks);
  }
  void home(Generation generation, int64_t extents) override {
    if (extents > 0 || space_.all_newer(generation, last_share_))
      merges_.counts_.home(generation, extents);
  }
  // What was shared before it was merged may have been overwritten before that as well; then the
  // alias alone brings it in, and so it does where the mover has been since. Counted twice
  // otherwise, until a walk sees to it.
  void alias(Generation generation, int64_t blocks) override {
    const bool merged = space_.is_settled(generation, merges_.pool_.checkpointer.cut());
    if (blocks > 0 && merged && !space_.is_emptied(generation)) return;
    merges_.maybe_dead_ += static_cast<uint64_t>(std::abs(blocks));
    if (blocks > 0) merges_.added_ += blocks;
  }

 private:
  MapMerges& merges_;
  Space& space_;
  const Sequence last_share_;
};

MapMerges::Key MapMerges::key_of(const MapStack& stack, size_t layers) {
  return {stack.tree.root, layers == 0 ? nullptr : stack.layers[layers - 1].get()};
}

ImageMap MapMerges::result(const MapStack& stack) const {
  if (stack.tree.root == NodeId::none && stack.layers.empty()) return {};  // empty
  const auto found = results_.find(key_of(stack, stack.layers.size()));
  LAMINA_CHECK(found != results_.end());
  return found->second;
}

Task<Result<>> MapMerges::run(std::vector<MergeWork> work, const Relocations& moved,
                              std::vector<MovedLeaf> leaves, bool all_follow) {
  work_ = std::move(work);
  if (!moved.empty()) {
    moved_ = &moved;
    const auto full = co_await find_reshaped(leaves);
    if (!full) co_return std::unexpected(full.error());
    if (all_follow) co_await part(*full);
    for (auto& [root, ranges] : also_)
      std::ranges::sort(ranges, {}, [](const BlockRange& range) { return range.begin; });
  }
  std::vector<Group> waiting = by_tree();
  while (!waiting.empty()) {
    if (pool_.identity.epoch != epoch_) co_return fail(Code::io, "its epoch is over (A19)");
    Group group = std::move(waiting.back());
    waiting.pop_back();
    LAMINA_CO_TRY(co_await advance(std::move(group), waiting));
  }
  if (!moved.empty()) {
    LAMINA_CO_TRY(co_await rewrite_moved(leaves));
    moved.count_data(counts_);
  }
  co_return Result<>{};
}

// Maps with one tree are relatives; where there is none, the oldest layer tells.
std::vector<MapMerges::Group> MapMerges::by_tree() const {
  std::map<Key, Group> groups;
  for (size_t i = 0; i < work_.size(); ++i) {
    const MapStack& stack = work_[i].stack;
    if (stack.tree.root == NodeId::none && stack.layers.empty()) continue;
    const Key key = stack.tree.root == NodeId::none ? key_of(stack, 1) : key_of(stack, 0);
    Group& group = groups[key];
    group.members.push_back(i);
    group.tree = stack.tree;
  }
  std::vector<Group> out;
  for (auto& [key, group] : groups) out.push_back(std::move(group));
  in_order(out);
  return out;
}

// Not in the order of the addresses of layers: the same steps every time.
void MapMerges::in_order(std::vector<Group>& groups) {
  std::ranges::sort(groups, {}, [](const Group& group) { return group.members.front(); });
}

// Up to which layer the stacks of all members are the same.
size_t MapMerges::in_common(const Group& group) const {
  const MapStack& first = work_[group.members.front()].stack;
  size_t layers = group.done;
  for (;; ++layers)
    for (const size_t member : group.members) {
      const MapStack& stack = work_[member].stack;
      if (layers == stack.layers.size() || stack.layers[layers] != first.layers[layers])
        return layers;
    }
}

Task<Result<>> MapMerges::advance(Group group, std::vector<Group>& next) {
  const size_t until = in_common(group);
  auto merged = co_await merge_layers(group, until);
  if (!merged) co_return forward_error(merged);
  // The sharers' own merges may have to read it back.
  if (group.members.size() > 1 && merged->root != group.tree.root)
    LAMINA_CO_TRY(co_await pool_.writer.write_out());
  group.tree = *merged;
  group.done = until;
  results_[key_of(work_[group.members.front()].stack, until)] = *merged;
  std::map<const ClosedLayer*, Group> parts;
  for (const size_t member : group.members) {
    const MapStack& stack = work_[member].stack;
    if (stack.layers.size() == until) continue;
    Group& part = parts[stack.layers[until].get()];
    part.members.push_back(member);
    part.done = until;
    part.tree = group.tree;
  }
  std::vector<Group> ordered;
  for (auto& [layer, part] : parts) ordered.push_back(std::move(part));
  in_order(ordered);
  std::move(ordered.begin(), ordered.end(), std::back_inserter(next));
  co_return Result<>{};
}

Task<Result<ImageMap>> MapMerges::merge_layers(const Group& group, size_t until) {
  const MergeWork& first = work_[group.members.front()];
  const bool alone = group.members.size() == 1;
  MergeInput input;
  if (group.done == 0)
    if (const auto also = also_.find(group.tree.root); also != also_.end())
      input.also = also->second;
  for (size_t i = group.done; i < until; ++i)
    input.changes.push_back(&first.stack.layers[i]->layer);
  if (input.changes.empty() && input.also.empty()) co_return group.tree;
  input.map = first.map;
  input.root = group.tree.root;
  const auto birth = co_await birth_for(group, until);
  if (!birth) co_return std::unexpected(birth.error());
  input.birth = *birth;
  input.checkpoint = number_;
  input.moved = moved_;
  input.node_bytes = pool_.settings.node_fill_bytes;
  Sequence last_share = 0;
  for (const size_t member : group.members) {
    // F1: of what is made for several maps none may take a node for its own.
    LAMINA_CHECK(alone || work_[member].last_fork >= input.birth);
    input.last_fork = std::max(input.last_fork, work_[member].last_fork);
    last_share = std::max(last_share, work_[member].last_share);
  }
  Counts counts(*this, last_share);
  auto output = co_await merge(pool_.nodes, table_, input, sink_, counts);
  if (!output) co_return forward_error(output);
  ImageMap made = group.tree;
  made.root = output->root;
  made.mapped_blocks = output->mapped_blocks;
  if (output->from_empty) made.extents = 0;
  made.extents = static_cast<uint64_t>(static_cast<int64_t>(made.extents) + output->extents_change);
  co_return made;
}

// F1: when the last of the layers was closed. Where none is merged, but a leaf parted, when the
// root was born: it is in all of their trees, so none of them diverged from another before that.
Task<Result<Sequence>> MapMerges::birth_for(const Group& group, size_t until) const {
  if (group.members.size() == 1) co_return cut_;
  if (until > 0) co_return work_[group.members.front()].stack.layers[until - 1]->closed_at;
  const NodeId root = group.tree.root;
  const NodeEntry entry = table_.at(root);
  auto block = co_await pool_.nodes.get(root, entry);
  if (!block) co_return forward_error(block);
  co_return NodeView((*block)->span()).header().birth;
}

// Leaves that do not fit a block with what has moved, or have so few extents left that they and
// their neighbours could be one. Where one map alone has the leaf, its merge makes several of it,
// or one of several. Returns those that do not fit and more than one map has.
Task<Result<std::vector<MapMerges::FullLeaf>>> MapMerges::find_reshaped(
    const std::vector<MovedLeaf>& leaves) {
  struct Uncounted final : LiveCounts {
    void data(Generation, int64_t) override {}
    void home(Generation, int64_t) override {}
  } uncounted;
  std::map<MapId, const MergeWork*> maps;
  for (const MergeWork& work : work_) maps[work.map] = &work;
  std::vector<FullLeaf> shared;
  std::vector<MovedLeaf> present;
  std::copy_if(leaves.begin(), leaves.end(), std::back_inserter(present),
               [this](const MovedLeaf& l) { return table_.find(l.leaf) != nullptr; });
  ReadAhead ahead(pool_.nodes, true);
  size_t started = 0;
  Result<> result;
  for (size_t taken = 0; result && taken < present.size(); ++taken) {
    for (; started < present.size() && !ahead.full(); ++started)
      ahead.start(present[started].leaf, table_.at(present[started].leaf));
    auto block = co_await ahead.take();
    Result<Node> node = fail(Code::io);
    if (block)
      node = unpack_node((*block)->span());
    else
      node = forward_error(block);
    if (!node) {
      result = forward_error(node);
      break;
    }
    const MovedLeaf& leaf = present[taken];
    const auto owner = maps.find(leaf.map);
    const bool owned = owner != maps.end() && node->header.birth > owner->second->last_fork;
    const size_t before = node->extents.size();
    if (!moved_->apply(leaf.leaf, node->extents, uncounted)) continue;
    const bool full = !fits(*node), shrinks = node->extents.size() * shrunk_part <= before;
    const BlockRange range{node->header.begin, node->header.end};
    if (owned && (full || shrinks)) also_[owner->second->stack.tree.root].push_back(range);
    if (!owned && full) shared.push_back({leaf.leaf, range});
  }
  co_await ahead.drain();
  if (!result) co_return std::unexpected(result.error());
  co_return shared;
}

// Every tree that has one of those leaves is to have its own instead. What is left for another
// checkpoint stays with the trees that have it, and so does a leaf of which that cannot be told.
Task<void> MapMerges::part(const std::vector<FullLeaf>& full) {
  std::set<NodeId> roots;
  for (const MergeWork& work : work_)
    if (work.stack.tree.root != NodeId::none) roots.insert(work.stack.tree.root);
  const Space& space = pool_.space;
  const uint64_t room = space.available(Claim::checkpoint) * space.segment_blocks() / 2;
  uint64_t left = std::min(parted_at_once, room / parted_part);
  for (const FullLeaf& leaf : full) {
    bool by_all = true;
    for (const NodeId root : roots) {
      const auto at = co_await leaf_at(pool_.nodes, table_, root, leaf.range.begin);
      if (at && *at != leaf.id) continue;
      const uint64_t nodes = table_.at(root).level + 2u;  // a path, and one more leaf
      by_all = at && nodes <= left;
      if (!by_all) break;
      left -= nodes;
      also_[root].push_back(leaf.range);
    }
    if (by_all) parted_.insert(leaf.id);
  }
}

Task<Result<>> MapMerges::rewrite_moved(const std::vector<MovedLeaf>& leaves) {
  Counts counts(*this, 0);
  for (const MovedLeaf& moved : leaves) {
    const NodeEntry* found = table_.find(moved.leaf);
    if (!found || found->checkpoint == number_ || parted_.contains(moved.leaf)) continue;
    const NodeEntry entry = *found;
    auto block = co_await pool_.nodes.get(moved.leaf, entry, false);
    if (!block) co_return forward_error(block);
    auto node = unpack_node((*block)->span());
    if (!node) co_return forward_error(node);
    const size_t before = node->extents.size();
    if (!moved_->apply(moved.leaf, node->extents, counts)) continue;
    if (!fits(*node)) {
      unmoved_.push_back(moved.leaf);
      continue;
    }
    moved_extents_[moved.map] +=
        static_cast<int64_t>(node->extents.size()) - static_cast<int64_t>(before);
    node->header.checkpoint = number_;
    LAMINA_CO_TRY(co_await sink_.put(*node, {}));
  }
  co_return Result<>{};
}

}  // namespace lamina
