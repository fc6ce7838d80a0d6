// SPDX-License-Identifier: Apache-2.0
// The merge that a checkpoint makes of layers into a tree.
//
// It goes down from the root, in key order, into the children that a change touches.
// Children that a zero covers whole are dropped unread (E4); a neighbour then answers for their
// range and takes the zero. Contents come up again through a RepackWindow a level, which cuts them
// into nodes, so that each level's list of children is complete when it goes up itself.
#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/executor.h"
#include "engine/maps/leaf_changes.h"
#include "engine/maps/read_ahead.h"
#include "engine/maps/relocations.h"
#include "engine/maps/repack.h"
#include "engine/maps/tree.h"

namespace lamina {
namespace {

// So many leaves between two chances for others to run.
constexpr size_t leaves_a_turn = 8;

constexpr BlockRange whole_device{DeviceBlock{0}, device_end};

std::unexpected<Error> bad_tree(NodeId id, const char* what) {
  return fail(Code::corrupt, "node " + std::to_string(raw(id)) + " " + what);
}

class Merger {
 public:
  Merger(NodeStore& store, const NodeTable& table, const MergeInput& input, NodeSink& sink,
         LiveCounts& counts)
      : store_(store),
        table_(table),
        input_(input),
        counts_(counts),
        sink_(sink),
        context_{input, sink, counts, output_, {}} {}

  Task<Result<MergeOutput>> run();

 private:
  // A child on the way down.
  struct Step {
    Child child;
    NodeEntry entry;
    BlockRange stored;  // what its header says
    BlockRange range;   // what it answers for from now on
    bool affected = false;
  };
  using Steps = std::vector<Step>;

  Result<NodeEntry> entry_of(NodeId id, int level) const;
  Task<Result<Node>> read(NodeId id, NodeEntry entry, BlockRange range);
  Result<Node> open(NodeId id, const NodeBlock& block, BlockRange range) const;
  bool affected(BlockRange range) const;
  bool drops(const NodeEntry& entry, BlockRange range) const;
  Result<Steps> plan(const Node& node, BlockRange range);
  Task<Result<uint64_t>> mapped_below(const Step& step);

  Task<Result<>> merge_root(std::vector<ChildItem>& top);
  Task<Result<Content<ChildItem>>> merge_inner(Node node, BlockRange range);
  template <class Item>
  Task<Result<>> merge_children(const Steps& steps, std::vector<ChildItem>& out);
  // The content of one child, merged if it is affected.
  Task<Result<Content<Extent>>> load(const Step& step, ReadAhead& ahead, Extent*);
  Task<Result<Content<ChildItem>>> load(const Step& step, ReadAhead& ahead, ChildItem*);
  Content<Extent> merge_leaf(Node node, BlockRange range, bool change);
  template <class Item>
  void take_id(Content<Item>& content, const NodeHeader& header) const;
  NodeId collapse(NodeId root);

  NodeStore& store_;
  const NodeTable& table_;
  const MergeInput& input_;
  LiveCounts& counts_;
  NodeSink& sink_;
  MergeOutput output_;
  RepackContext context_;
  DroppedRanges dropped_;
  uint32_t top_level_ = 0;
};

Result<NodeEntry> Merger::entry_of(NodeId id, int level) const {
  const NodeEntry* entry = table_.find(id);
  if (!entry || (level >= 0 && entry->level != level))
    return bad_tree(id, "is not in the node table, or of another level there");
  return *entry;
}

Result<Node> Merger::open(NodeId id, const NodeBlock& block, BlockRange range) const {
  Result<Node> node = unpack_node(block->span());
  if (!node) return node;
  if (node->header.id != id || node->header.begin != range.begin || node->header.end != range.end)
    return bad_tree(id, "does not say what its parent says of it");
  return node;
}

Task<Result<Node>> Merger::read(NodeId id, NodeEntry entry, BlockRange range) {
  // Leaves are about to be replaced: they need not push others out of the cache.
  Task<Result<NodeBlock>> reading = store_.get(id, entry, entry.level > 0);
  Result<NodeBlock> block = co_await reading;
  if (!block) co_return forward_error(block);
  co_return open(id, *block, range);
}

bool Merger::affected(BlockRange range) const {
  const auto also = std::partition_point(input_.also.begin(), input_.also.end(),
                                         [&](BlockRange r) { return r.end <= range.begin; });
  if (also != input_.also.end() && also->begin < range.end) return true;
  return std::ranges::any_of(input_.changes, [&](const Layer* layer) {
    Layer::Cursor cursor(*layer);
    cursor.seek(range.begin);
    return !cursor.done() && cursor->begin < range.end;
  });
}

// Whether a zero covers all of an inner node's range, so that nothing below it needs to be read.
bool Merger::drops(const NodeEntry& entry, BlockRange range) const {
  return entry.level > 0 && std::ranges::any_of(input_.changes, [&](const Layer* layer) {
           return covered_by_zeroes(*layer, range);
         });
}

// The children of `node`, which answers for `range` from now on, as they are to be merged.
Result<Merger::Steps> Merger::plan(const Node& node, BlockRange range) {
  Steps steps;
  const std::vector<Child>& children = node.children;
  DeviceBlock begin = range.begin;  // of what nobody answers for yet
  for (size_t i = 0; i < children.size(); ++i) {
    const bool last = i + 1 == children.size();
    Step step;
    step.child = children[i];
    step.stored = {children[i].begin, last ? node.header.end : children[i + 1].begin};
    Result<NodeEntry> entry = entry_of(step.child.id, static_cast<int>(node.header.level) - 1);
    if (!entry) return forward_error(entry);
    step.entry = *entry;
    const DeviceBlock end = last ? range.end : step.stored.end;
    // Somebody has to answer for the range: several layers may cover all, each a part.
    if (drops(step.entry, {begin, end}) && !(last && steps.empty())) {
      dropped_[begin] = end;
      ++output_.subtrees_dropped;
      if (steps.empty()) continue;  // the next one begins earlier
      begin = steps.back().range.end = end;
      continue;
    }
    step.range = {begin, end};
    steps.push_back(step);
    begin = end;
  }
  for (Step& step : steps) step.affected = step.range != step.stored || affected(step.range);
  return steps;
}

template <class Item>
void Merger::take_id(Content<Item>& content, const NodeHeader& header) const {
  if (header.birth > input_.last_fork) content.owned.push_back({header.id, header.birth});
}

Content<Extent> Merger::merge_leaf(Node node, BlockRange range, bool change) {
  Content<Extent> content;
  const auto before = static_cast<int64_t>(node.extents.size());
  const bool same_range = range == BlockRange{node.header.begin, node.header.end};
  bool changed = !same_range;
  // Whatever is read is written with the new pointers, or not at all.
  if (input_.moved) changed |= input_.moved->apply(node.header.id, node.extents, counts_);
  if (change) {
    for (const Layer* layer : input_.changes) {
      const LayerChange by_layer = apply_layer(node.extents, range, *layer, dropped_, counts_);
      changed |= by_layer.changed;
      if (by_layer.changed) content.appended = by_layer.appended;
    }
  }
  output_.extents_change += static_cast<int64_t>(node.extents.size()) - before;
  content.range = range;
  content.items = std::move(node.extents);
  if (!changed) content.unchanged = node.header.id;
  if (node.header.id != NodeId::none) {
    content.sources.push_back({range, node.header.id});
    take_id(content, node.header);
  }
  return content;
}

Task<Result<Content<Extent>>> Merger::load(const Step& step, ReadAhead& ahead, Extent*) {
  Result<Node> node = fail(Code::io);
  if (step.affected) {
    Task<Result<NodeBlock>> taking = ahead.take();
    Result<NodeBlock> block = co_await taking;
    if (!block) co_return forward_error(block);
    node = open(step.child.id, *block, step.stored);
  } else {
    Task<Result<Node>> reading = read(step.child.id, step.entry, step.stored);
    node = co_await reading;
  }
  if (!node) co_return forward_error(node);
  co_return merge_leaf(std::move(*node), step.range, step.affected);
}

Task<Result<uint64_t>> Merger::mapped_below(const Step& step) {
  if (step.entry.mapped_blocks != std::numeric_limits<uint32_t>::max())
    co_return uint64_t{step.entry.mapped_blocks};
  Task<Result<Node>> reading = read(step.child.id, step.entry, step.stored);
  Result<Node> node = co_await reading;
  if (!node) co_return forward_error(node);
  co_return node->header.mapped_blocks;
}

Task<Result<Content<ChildItem>>> Merger::load(const Step& step, ReadAhead& ahead, ChildItem*) {
  Result<Node> node = fail(Code::io);
  if (step.affected) {
    Task<Result<NodeBlock>> taking = ahead.take();
    Result<NodeBlock> block = co_await taking;
    if (!block) co_return forward_error(block);
    node = open(step.child.id, *block, step.stored);
  } else {
    Task<Result<Node>> reading = read(step.child.id, step.entry, step.stored);
    node = co_await reading;
  }
  if (!node) co_return forward_error(node);
  Task<Result<Content<ChildItem>>> merging = merge_inner(std::move(*node), step.range);
  co_return co_await merging;
}

template <class Item>
Task<Result<>> Merger::merge_children(const Steps& steps, std::vector<ChildItem>& out) {
  const uint32_t level = steps.front().entry.level;
  RepackWindow<Item> window(context_, level, out);
  ReadAhead ahead(store_, level > 0);
  size_t started = 0, done = 0;
  Result<> result;
  for (const Step& step : steps) {
    for (; started < steps.size() && !ahead.full(); ++started)
      if (steps[started].affected) ahead.start(steps[started].child.id, steps[started].entry);
    if (!step.affected && !window.wants_neighbour()) {
      Task<Result<>> finishing = window.finish();
      result = co_await finishing;
      if (!result) break;
      Task<Result<uint64_t>> asking = mapped_below(step);
      const Result<uint64_t> mapped = co_await asking;
      if (!mapped) {
        result = std::unexpected<Error>(mapped.error());
        break;
      }
      out.push_back({step.child, *mapped});
      continue;
    }
    Task<Result<Content<Item>>> loading = load(step, ahead, static_cast<Item*>(nullptr));
    Result<Content<Item>> content = co_await loading;
    if (!content) {
      result = forward_error(content);
      break;
    }
    Task<Result<>> pushing = window.push(std::move(*content));
    result = co_await pushing;
    if (!result) break;
    if (++done % leaves_a_turn == 0) co_await Yield{};
  }
  if (result) {
    Task<Result<>> finishing = window.finish();
    result = co_await finishing;
  }
  Task<void> draining = ahead.drain();
  co_await draining;
  co_return result;
}

Task<Result<Content<ChildItem>>> Merger::merge_inner(Node node, BlockRange range) {
  Result<Steps> steps = plan(node, range);
  if (!steps) co_return forward_error(steps);
  Content<ChildItem> content;
  content.range = range;
  if (node.header.level == 1) {
    Task<Result<>> merging = merge_children<Extent>(*steps, content.items);
    Result<> result = co_await merging;
    if (!result) co_return forward_error(result);
  } else {
    Task<Result<>> merging = merge_children<ChildItem>(*steps, content.items);
    Result<> result = co_await merging;
    if (!result) co_return forward_error(result);
  }
  uint64_t mapped = 0;
  for (const ChildItem& item : content.items) mapped += item.mapped_blocks;
  const bool same = range == BlockRange{node.header.begin, node.header.end} &&
                    mapped == node.header.mapped_blocks &&
                    std::ranges::equal(content.items, node.children, {}, &ChildItem::child);
  if (same) content.unchanged = node.header.id;
  content.appended = range.end == device_end && content.items.size() > node.children.size() &&
                     std::equal(node.children.begin(), node.children.end(), content.items.begin(),
                                [](const Child& a, const ChildItem& b) { return a == b.child; });
  take_id(content, node.header);
  co_return content;
}

// Merges into the tree below the root; `top` becomes the nodes of the highest level, in order.
Task<Result<>> Merger::merge_root(std::vector<ChildItem>& top) {
  Node node;
  if (input_.root != NodeId::none) {
    Result<NodeEntry> entry = entry_of(input_.root, -1);
    if (!entry) co_return forward_error(entry);
    if (drops(*entry, whole_device)) {
      dropped_[whole_device.begin] = whole_device.end;
      ++output_.subtrees_dropped;
      output_.from_empty = true;
    } else {
      Task<Result<Node>> reading = read(input_.root, *entry, whole_device);
      Result<Node> root = co_await reading;
      if (!root) co_return forward_error(root);
      node = std::move(*root);
    }
  }
  if (node.header.level > 0) {
    top_level_ = node.header.level;
    Task<Result<Content<ChildItem>>> merging = merge_inner(std::move(node), whole_device);
    Result<Content<ChildItem>> content = co_await merging;
    if (!content) co_return forward_error(content);
    RepackWindow<ChildItem> window(context_, top_level_, top);
    Task<Result<>> pushing = window.push(std::move(*content));
    Result<> result = co_await pushing;
    if (!result) co_return result;
    Task<Result<>> finishing = window.finish();
    co_return co_await finishing;
  }
  node.header.end = device_end;
  if (input_.root == NodeId::none) output_.from_empty = true;
  Content<Extent> content = merge_leaf(std::move(node), whole_device, true);
  if (content.items.empty()) {
    for (const auto& owned : content.owned) sink_.erase(owned.id);
    co_return Result<>{};
  }
  RepackWindow<Extent> window(context_, 0, top);
  Task<Result<>> pushing = window.push(std::move(content));
  Result<> result = co_await pushing;
  if (!result) co_return result;
  Task<Result<>> finishing = window.finish();
  co_return co_await finishing;
}

// A root with one child is not needed.
NodeId Merger::collapse(NodeId root) {
  for (;;) {
    const auto found = context_.single_child.find(raw(root));
    if (found == context_.single_child.end()) return root;
    sink_.erase(root);
    root = found->second;
  }
}

Task<Result<MergeOutput>> Merger::run() {
  std::vector<ChildItem> top;
  Task<Result<>> merging = merge_root(top);
  Result<> result = co_await merging;
  if (!result) co_return forward_error(result);
  // New levels, until one node stands for all.
  while (top.size() > 1) {
    Content<ChildItem> content;
    content.range = whole_device;
    content.items = std::move(top);
    content.appended = input_.root == NodeId::none;
    top.clear();
    RepackWindow<ChildItem> window(context_, ++top_level_, top);
    Task<Result<>> pushing = window.push(std::move(content));
    result = co_await pushing;
    if (!result) co_return forward_error(result);
    Task<Result<>> finishing = window.finish();
    result = co_await finishing;
    if (!result) co_return forward_error(result);
  }
  if (top.empty()) co_return output_;
  output_.mapped_blocks = top.front().mapped_blocks;
  output_.root = collapse(top.front().child.id);
  co_return output_;
}

}  // namespace

Task<Result<MergeOutput>> merge(NodeStore& store, const NodeTable& table, const MergeInput& input,
                                NodeSink& sink, LiveCounts& counts) {
  Merger merger(store, table, input, sink, counts);
  Task<Result<MergeOutput>> running = merger.run();
  co_return co_await running;
}

}  // namespace lamina
