// SPDX-License-Identifier: Apache-2.0
// What a merge does to one leaf's extents: first the mover's swaps, then the layer's changes.
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

// Sorted by where they begin; found by what they overlap.
class SwapList {
 public:
  explicit SwapList(std::span<const Swap> swaps);  // asserts the order
  bool any(BlockRange range) const;
  template <class Visit>  // in order
  void overlapping(BlockRange range, Visit visit) const {
    for (size_t i = first(range.begin); i < swaps_.size() && swaps_[i].range.begin < range.end; ++i)
      if (swaps_[i].range.end > range.begin) visit(swaps_[i]);
  }

 private:
  size_t first(DeviceBlock begin) const;  // that may reach past `begin`
  std::span<const Swap> swaps_;
  std::vector<DeviceBlock> reach_;  // the largest end up to and with each
};

// Applies every swap that still matches inside `range` to the extents. Returns whether one did.
bool apply_swaps(std::vector<Extent>& extents, BlockRange range, const SwapList& swaps,
                 LiveCounts& counts);

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

// Whether an extent is a home's: what states it has to stay (C2, C4).
inline bool has_home(const Extent& e) {
  return e.kind != ExtentKind::data || e.alias;
}

}  // namespace lamina
