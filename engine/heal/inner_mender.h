// SPDX-License-Identifier: Apache-2.0
// How mend_inner() goes about it (mend_inner.h). Its ways are in mend_inner.cpp; which nodes may
// serve, and which ids are free, in lost_children.cpp.
// Thread-safety: one coroutine.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "engine/heal/cover.h"
#include "engine/heal/mend_inner.h"
#include "engine/heal/survey.h"
#include "engine/pool_state.h"
#include "engine/rebuild_scan.h"

namespace lamina {

using NodeRefs = std::unordered_set<NodeRef, NodeRef::Hash>;

class InnerMender {
 public:
  InnerMender(PoolState& pool, Survey surveyed) : pool_(pool), survey_(std::move(surveyed)) {
    for (const Survey::Link& link : survey_.links) taken_.insert(link.child);
    for (const NodeId id : pool.checkpointer.dropping()) leaving_.insert(id);
    for (const NodeId id : pool.checkpointer.referred_to()) referred_to_.insert(id);
  }
  Task<Result<MadeNodes>> run(NodeRef wanted);

 private:
  struct Part {
    NodeRef lost;
    NodePlace place;
    MadeNodes result;
    std::optional<Divergences> divergences;
    std::map<uint32_t, std::vector<NodeId>> free_ids;  // by level
    bool takes_ids = false;                            // of nodes that are lost
    bool could_wait = false;                           // more may be free later
  };
  // Nodes of a level that no inner node that can be read has.
  struct Loose {
    std::vector<NodeHeader> readable;
    std::vector<NodeId> lost;
  };
  using Visit = std::function<void(const Node&)>;
  Task<void> look_at_loose(const ImagePtr& image, uint32_t level);
  Task<Result<MadeNodes>> all_at_once(NodeRef wanted);
  Task<Result<Part>> by_exclusion(NodeRef lost);
  Task<Result<Part>> by_entries(NodeRef lost);
  Task<void> find_serving(const Scan& scan, Cover& cover, Part& part);
  Task<bool> for_each_that_may_serve(uint32_t level, Part& part, Visit visit);
  Task<void> make_lost_ones(uint32_t level, Cover& cover, Part& part);
  Task<std::unordered_map<NodeId, BlockRange>> where_they_were(uint32_t level, Part& part);
  Task<std::optional<BlockRange>> range_elsewhere(NodeId id, Part& part, bool& serves);
  std::vector<NodeRef> candidates(uint32_t level, const NodePlace& place);
  Task<std::optional<Node>> read(NodeRef node);
  Task<Result<>> adopt(const Image& image, const Node& by, Part& part, std::vector<Node>& adopted);
  void attach(const Image& image, const Node& node);
  Result<NodeId> take_id(uint32_t level, Part& part);
  void take(NodeRef ref, Part& part);
  // The older image keeps what the newest one lets go.
  bool is_leaving(const ImagePtr& image, NodeId id) const {
    return image == survey_.images.front() && leaving_.contains(id);
  }
  Loose& loose(const ImagePtr& image, uint32_t level) { return loose_[{image, level}]; }
  const NodeEntry& entry(NodeRef node) const { return survey_.entry(node); }

  PoolState& pool_;
  Survey survey_;
  NodeRefs taken_;  // children of some node
  // By the checkpoint under way dropped; and had by what it has made.
  std::unordered_set<NodeId> leaving_, referred_to_;
  std::map<std::pair<ImagePtr, uint32_t>, Loose> loose_;
  std::unordered_map<NodeRef, Node, NodeRef::Hash> made_;
  NodeRefs with_ids_;  // made under ids of others, or of those
};

}  // namespace lamina
