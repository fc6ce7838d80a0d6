// SPDX-License-Identifier: Apache-2.0
#include "engine/space/walk.h"

#include "engine/maps/tree.h"

namespace lamina {
namespace {

class Marker final : public TreeVisitor {
 public:
  Marker(WalkResult& result, const std::set<Generation>& wanted)
      : result_(result), wanted_(wanted) {}

  void begin_map(MapId map) { map_ = map; }
  void node(NodeId, const NodeHeader&) override { ++result_.nodes; }
  void leaf(NodeId, const Node& node) override {
    for (const Extent& extent : node.extents) {
      ++result_.extents;
      bool refers = false;
      if (extent.kind == ExtentKind::data) {
        result_.live[raw(extent.address.generation)].blocks += extent.length().value;
        refers = wanted_.contains(extent.address.generation);
      }
      if (extent.kind != ExtentKind::data || extent.alias) {
        ++result_.live[raw(extent.home)].homes;
        refers = refers || wanted_.contains(extent.home);
      }
      if (refers) result_.referrers.push_back({map_, extent});
    }
  }

 private:
  WalkResult& result_;
  const std::set<Generation>& wanted_;
  MapId map_ = MapId::none;
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
