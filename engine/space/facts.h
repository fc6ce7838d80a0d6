// SPDX-License-Identifier: Apache-2.0
// What a segment states that has no payload in it: zeroes, lost ranges, aliases. It is the home of
// the extents that say so, and its summary knows the numbers, which the maps do not keep.
// Thread-safety: const after it was made.
#pragma once

#include <span>
#include <vector>

#include "base/result.h"
#include "blobs/entry.h"
#include "engine/lineage.h"
#include "engine/maps/extent.h"

namespace lamina {

class Facts {
 public:
  Facts() = default;
  explicit Facts(std::span<const Entry> summary);

  // The entries that state an extent of a map that sees `sights`, whose home this segment is, each
  // clipped to what it states: original map and number, in order of place. Error corrupt: the
  // summary does not know it.
  Result<std::vector<Entry>> of(const Extent& extent, const std::vector<Sight>& sights) const;

 private:
  std::vector<Entry> entries_;
};

// C1: zeroes of one map that lie side by side are one statement, under the largest of their
// numbers, where no fork of the map lies between them. Takes `next` into `zero`, whose numbers go
// from `smallest` to its own; false: they stay two. Without it a device that was discarded block by
// block would take a large part of the pool for the summaries that say so (D6).
bool merge_zero(Entry& zero, Sequence& smallest, const Entry& next, const Lineage& lineage);

}  // namespace lamina
