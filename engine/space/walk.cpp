// SPDX-License-Identifier: Apache-2.0
#include "engine/space/walk.h"

#include <algorithm>
#include <bit>

#include "engine/maps/bits.h"
#include "engine/maps/tree.h"

namespace lamina {
namespace {

class Marker final : public TreeVisitor {
 public:
  Marker(WalkResult& result, const std::set<Generation>& wanted)
      : result_(result), wanted_(wanted) {}

  void begin_map(MapId map) { map_ = map; }
  void node(NodeId, const NodeHeader&) override { ++result_.nodes; }
  void leaf(NodeId id, const Node& node) override {
    for (const Extent& extent : node.extents) {
      ++result_.extents;
      bool refers = false;
      if (extent.kind == ExtentKind::data) {
        mark(extent);
        refers = wanted_.contains(extent.address.generation);
      }
      if (extent.kind != ExtentKind::data || extent.alias) {
        ++result_.live[raw(extent.home)].homes;
        refers = refers || wanted_.contains(extent.home);
      }
      if (refers) result_.referrers.push_back({id, map_, extent});
    }
  }

 private:
  // Leaves that were one before a fork refer to the same blocks: each counts once.
  void mark(const Extent& extent) {
    std::vector<uint64_t>& bits = blocks_[raw(extent.address.generation)];
    const uint64_t begin = extent.address.block, end = begin + extent.length().value;
    if (bits.size() * 64 < end) bits.resize(div_up(end, 64));
    uint64_t fresh = 0;
    for (uint64_t at = begin; at < end;) {
      const uint64_t until = std::min(end, (at / 64 + 1) * 64);
      const uint64_t mask = low_mask(static_cast<unsigned>(until - at)) << at % 64;
      fresh += static_cast<uint64_t>(std::popcount(mask & ~bits[at / 64]));
      bits[at / 64] |= mask;
      at = until;
    }
    result_.live[raw(extent.address.generation)].blocks += fresh;
    result_.blocks += fresh;
  }

  WalkResult& result_;
  const std::set<Generation>& wanted_;
  MapId map_ = MapId::none;
  std::unordered_map<uint32_t, std::vector<uint64_t>> blocks_;  // by generation, a bit for each
};

}  // namespace

Task<Result<WalkResult>> walk(NodeStore& nodes, const ImagePtr& image,
                              const std::set<Generation>& wanted) {
  WalkResult result;
  std::vector<bool> visited(image->nodes.limit());
  Marker marker(result, wanted);
  for (const ImageMap& map : image->maps) {
    if (map.root == NodeId::none) continue;
    marker.begin_map(map.map);
    LAMINA_CO_TRY(co_await walk_tree(nodes, image->nodes, map.root, visited, marker));
  }
  image->nodes.for_each([&](NodeId id, const NodeEntry&) {
    if (!visited[raw(id)]) result.unreachable.push_back(id);
  });
  co_return result;
}

}  // namespace lamina
