// SPDX-License-Identifier: Apache-2.0
#include "engine/heal/mend_leaf.h"

#include "engine/heal/scan_range.h"
#include "engine/pool_state.h"
#include "engine/repair/replay.h"

namespace lamina {

Task<Result<Node>> mend_leaf(PoolState& pool, NodeEntry entry, NodePlace place) {
  const ImagePtr& image = place.image;
  Node node = Node::of(place.maps.front(), NodeId::none, 0, place.range);
  Task<Result<Scan>> scanning = scan_range(pool, image, node.header.map, place.range);
  Result<Scan> scan = co_await scanning;
  if (!scan) co_return forward_error(scan);
  node.extents = replay_range(*scan, image->lineage, node.header.map, place.range, pool.nodes);
  node.header.mapped_blocks = stored_blocks(node.extents);
  LAMINA_CO_TRY(expect_blocks(entry, node.header.mapped_blocks));
  if (!fits(node)) co_return fail(Code::corrupt, "what is found of it takes more than a node");
  if (place.is_newest) LAMINA_CO_TRY(share_again(pool, node.extents));
  co_return node;
}

}  // namespace lamina
