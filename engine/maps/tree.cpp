// SPDX-License-Identifier: Apache-2.0
#include "engine/maps/tree.h"

#include <algorithm>
#include <string>

namespace lamina {
namespace {

std::unexpected<Error> missing(NodeId id) {
  return fail(Code::corrupt, "node " + std::to_string(raw(id)) + " is not in the node table");
}

// Appends what lies below `id`; false where something is not in the cache or makes no sense.
bool collect(NodeStore& store, const NodeTable& table, NodeId id, BlockRange range,
             std::vector<Extent>& out) {
  const NodeEntry* entry = table.find(id);
  if (!entry) return false;
  const NodeBlock block = store.try_get(*entry);
  if (!block) return false;
  const NodeView view(block->span());
  if (view.leaf()) return view.lookup(range, out);
  for (DeviceBlock key = range.begin; key < range.end;) {
    const NodeView::Step step = view.child_for(key);
    if (step.end <= key) return false;
    const BlockRange below{key, std::min(step.end, range.end)};
    if (!collect(store, table, step.id, below, out)) return false;
    key = step.end;
  }
  return true;
}

// The leaf that answers for `key`, and where it ends.
struct Leaf {
  NodeBlock block;
  DeviceBlock end;
};
Task<Result<Leaf>> descend(NodeStore& store, const NodeTable& table, NodeId root, DeviceBlock key) {
  Leaf leaf{nullptr, device_end};
  for (NodeId id = root;;) {
    const NodeEntry* entry = table.find(id);
    if (!entry) co_return missing(id);
    leaf.block = store.try_get(*entry);
    if (!leaf.block) {
      Task<Result<NodeBlock>> reading = store.get(id, *entry);
      Result<NodeBlock> block = co_await reading;
      if (!block) co_return forward_error(block);
      leaf.block = std::move(*block);
    }
    const NodeView view(leaf.block->span());
    if (view.leaf()) co_return leaf;
    const NodeView::Step step = view.child_for(key);
    if (step.end <= key)
      co_return fail(Code::corrupt, "node " + std::to_string(raw(id)) + " has no such key");
    leaf.end = std::min(leaf.end, step.end);
    id = step.id;
  }
}

}  // namespace

bool try_lookup(NodeStore& store, const NodeTable& table, NodeId root, BlockRange range,
                std::vector<Extent>& out) {
  if (root == NodeId::none || range.empty()) return true;
  const size_t before = out.size();
  if (collect(store, table, root, range, out)) return true;
  out.resize(before);
  return false;
}

Task<Result<>> lookup(NodeStore& store, const NodeTable& table, NodeId root, BlockRange range,
                      std::vector<Extent>& out, size_t limit) {
  if (root == NodeId::none) co_return Result<>{};
  const size_t most = limit > SIZE_MAX - out.size() ? SIZE_MAX : out.size() + limit;
  for (DeviceBlock key = range.begin; key < range.end && out.size() < most;) {
    Task<Result<Leaf>> descending = descend(store, table, root, key);
    Result<Leaf> leaf = co_await descending;
    if (!leaf) co_return forward_error(leaf);
    const NodeView view(leaf->block->span());
    if (!view.lookup({key, std::min(leaf->end, range.end)}, out))
      co_return fail(Code::corrupt, "node " + std::to_string(raw(view.header().id)) +
                                        ": a row makes no sense, or it is another range's");
    key = leaf->end;
  }
  if (out.size() > most) out.resize(most);
  co_return Result<>{};
}

Task<Result<NodeId>> leaf_at(NodeStore& store, const NodeTable& table, NodeId root,
                             DeviceBlock key) {
  Task<Result<Leaf>> descending = descend(store, table, root, key);
  Result<Leaf> leaf = co_await descending;
  if (!leaf) co_return forward_error(leaf);
  co_return NodeView(leaf->block->span()).header().id;
}

}  // namespace lamina
