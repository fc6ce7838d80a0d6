// SPDX-License-Identifier: Apache-2.0
// How a merge cuts changed contents into nodes again. A window over neighbours in key order: what
// fits stays where it is, what does not is spread over itself and a neighbour that is at hand (two
// full nodes become three, as in a B*-tree, so random inserts leave them some 80 % full), small
// neighbours become one.
// Thread-safety: one coroutine.
#pragma once

#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/task.h"
#include "engine/maps/node.h"
#include "engine/maps/tree.h"

namespace lamina {

// A child as its parent's merge sees it.
struct ChildItem {
  Child child;
  uint64_t mapped_blocks = 0;  // below it
};

// What all windows of one merge share.
struct RepackContext {
  const MergeInput& input;
  NodeSink& sink;
  LiveCounts& counts;
  MergeOutput& output;
  // Inner nodes that were made with a single child, by id: as a root they are not needed.
  std::unordered_map<uint64_t, NodeId> single_child;
};

// A node's content on its way into nodes again. Item: Extent in leaves, ChildItem above.
template <class Item>
struct Content {
  BlockRange range;
  std::vector<Item> items;
  // Ids that this device alone owns, to be used again; they keep their births.
  struct Owned {
    NodeId id;
    Sequence birth;
  };
  std::vector<Owned> owned;
  NodeId unchanged = NodeId::none;  // the node that says all this already
  // Of extents: which leaf they were in, by range, in order.
  struct Source {
    BlockRange range;
    NodeId leaf;
  };
  std::vector<Source> sources;
  bool appended = false;  // it grew at its end: nodes are filled from the left
};

template <class Item>
class RepackWindow {
 public:
  // Nodes of `level` are put into the context's sink; what stands for them is appended to `out`.
  RepackWindow(RepackContext& context, uint32_t level, std::vector<ChildItem>& out)
      : context_(context), node_bits_(context.input.node_bytes * 8), level_(level), out_(out) {}

  // Takes the content right behind the one before; finish() has been called where they are not
  // neighbours.
  Task<Result<>> push(Content<Item> next);
  // Whether what is held would best be spread over the next neighbour, too.
  bool wants_neighbour() const;
  Task<Result<>> finish();

 private:
  using Owned = typename Content<Item>::Owned;
  using Source = typename Content<Item>::Source;
  void hold(Content<Item> content);
  void combine(Content<Item> next);
  // Cuts nodes off what is held until the rest fits one.
  Task<Result<>> spill();
  size_t cut(std::span<const Item> items, size_t bits) const;
  Task<Result<>> emit_held();
  Task<Result<>> emit(BlockRange range, std::vector<Item> items);
  std::vector<NodeId> sources_of(BlockRange range) const;

  RepackContext& context_;
  const size_t node_bits_;  // what one node may take
  uint32_t level_;
  std::vector<ChildItem>& out_;
  std::optional<Content<Item>> held_;
  size_t held_bits_ = 0;
};

extern template class RepackWindow<Extent>;
extern template class RepackWindow<ChildItem>;

}  // namespace lamina
