// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <utility>
#include <vector>

#include "base/executor.h"
#include "engine/maps/read_ahead.h"
#include "engine/maps/tree.h"

namespace lamina {
namespace {

// So many leaves between two chances for others to run.
constexpr size_t leaves_a_turn = 16;

class Walk {
 public:
  Walk(NodeStore& store, const NodeTable& table, std::vector<bool>& visited, TreeVisitor& visitor)
      : store_(store), table_(table), visited_(visited), visitor_(visitor), ahead_(store, false) {}

  Task<Result<>> run(NodeId root) {
    if (visited_.size() < table_.limit()) visited_.resize(table_.limit());
    LAMINA_CO_TRY(add(root, -1));
    while (!waiting_.empty()) {
      const auto [id, entry] = waiting_.back();
      waiting_.pop_back();
      Task<Result<NodeBlock>> reading = store_.get(id, entry, entry.level > 0);
      Result<NodeBlock> block = co_await reading;
      if (!block) co_return forward_error(block);
      Result<Node> node = unpack_node((*block)->span());
      if (!node) co_return forward_error(node);
      Task<Result<>> visiting = visit(id, *node);
      Result<> result = co_await visiting;
      Task<void> draining = ahead_.drain();
      co_await draining;
      if (!result) co_return forward_error(result);
    }
    co_return Result<>{};
  }

 private:
  using Waiting = std::pair<NodeId, NodeEntry>;

  // Notes a node to be read, unless that has been done. `level`: what it must be; -1: anything.
  Result<> add(NodeId id, int level) {
    const NodeEntry* entry = table_.find(id);
    if (!entry || (level >= 0 && entry->level != level))
      return fail(Code::corrupt, "node " + std::to_string(raw(id)) +
                                     " is not in the node table, or of another level there");
    if (visited_[raw(id)]) return {};
    visited_[raw(id)] = true;
    waiting_.emplace_back(id, *entry);
    return {};
  }

  Task<Result<>> visit(NodeId id, const Node& node) {
    visitor_.node(id, node.header);
    if (node.header.level == 0) {
      visitor_.leaf(id, node);
      co_return Result<>{};
    }
    const size_t before = waiting_.size();
    for (size_t i = node.children.size(); i-- > 0;)
      LAMINA_CO_TRY(add(node.children[i].id, static_cast<int>(node.header.level) - 1));
    if (node.header.level > 1) co_return Result<>{};
    // Leaves are read ahead, in order of keys, which the list has from its back.
    std::vector<Waiting> leaves(waiting_.rbegin(),
                                waiting_.rend() - static_cast<ptrdiff_t>(before));
    waiting_.resize(before);
    size_t started = 0;
    for (size_t taken = 0; taken < leaves.size(); ++taken) {
      for (; started < leaves.size() && !ahead_.full(); ++started)
        ahead_.start(leaves[started].first, leaves[started].second);
      Task<Result<NodeBlock>> taking = ahead_.take();
      Result<NodeBlock> block = co_await taking;
      if (!block) co_return forward_error(block);
      Result<Node> leaf = unpack_node((*block)->span());
      if (!leaf) co_return forward_error(leaf);
      visitor_.node(leaves[taken].first, leaf->header);
      visitor_.leaf(leaves[taken].first, *leaf);
      if (taken % leaves_a_turn == leaves_a_turn - 1) co_await Yield{};
    }
    co_return Result<>{};
  }

  NodeStore& store_;
  const NodeTable& table_;
  std::vector<bool>& visited_;
  TreeVisitor& visitor_;
  ReadAhead ahead_;
  std::vector<Waiting> waiting_;  // what is still to be read, the next at the back
};

}  // namespace

Task<Result<>> walk_tree(NodeStore& store, const NodeTable& table, NodeId root,
                         std::vector<bool>& visited, TreeVisitor& visitor) {
  if (root == NodeId::none) co_return Result<>{};
  Walk walk(store, table, visited, visitor);
  Task<Result<>> walking = walk.run(root);
  co_return co_await walking;
}

}  // namespace lamina
