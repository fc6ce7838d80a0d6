// SPDX-License-Identifier: Apache-2.0
// What a merge does to one leaf's extents: the changes of one layer after the other.
// Thread-safety: none; one merge.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "engine/maps/extent.h"
#include "engine/maps/layer.h"
#include "engine/maps/tree.h"

namespace lamina {

// Ranges whose subtrees the merge has dropped unread: something was written there, though no
// extent says so. Keys are begins, values ends; disjoint.
using DroppedRanges = std::map<DeviceBlock, DeviceBlock>;

struct LayerChange {
  bool changed = false;
  bool appended = false;  // everything that changed lies behind what was there
};
// Puts what the layer says of `range` over the extents.
LayerChange apply_layer(std::vector<Extent>& extents, BlockRange range, const Layer& layer,
                        const DroppedRanges& dropped, LiveCounts& counts);

// Whether the layer says zero of all of `range`.
bool covered_by_zeroes(const Layer& layer, BlockRange range);

// Appends, one extent for what continues, which is then one home less.
void append_extent(std::vector<Extent>& out, const Extent& e, LiveCounts& counts);

// Whether an extent is a home's: what states it has to stay (C2, C4).
inline bool has_home(const Extent& e) {
  return e.kind != ExtentKind::data || e.alias;
}

}  // namespace lamina
