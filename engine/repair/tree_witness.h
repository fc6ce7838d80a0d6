// SPDX-License-Identifier: Apache-2.0
// What the trees of the newest tables say of segments that are gone: they knew everything up to the
// tables' cut, and a segment's payload is the same wherever it is named from.
// Thread-safety: one coroutine. Reads only. Memory: what is found below each node, and `most` entries.
#pragma once

#include <map>
#include <vector>

#include "base/task.h"
#include "engine/rebuild_scan.h"

namespace lamina {

// All blocks that a device may have.
inline constexpr BlockRange everything{DeviceBlock{0},
                                       DeviceBlock{max_device_bytes / block_size}};

// By map; ranges that refer to data of which nothing is left, or whose leaf is gone: an entry that
// states something older there is not the newest (B2).
using DoubtedByTrees = std::map<MapId, std::vector<BlockRange>>;

// `untold`: segments whose contents are gone. What they stated without payload, the extents tell as
// well as they did: it becomes an entry of the scan that nothing states, under the number of the
// cut. Of a map that would make them more than `most` it is doubted instead.
Task<DoubtedByTrees> ask_trees(Scan& scan, const std::vector<SegmentName>& untold, size_t most);

}  // namespace lamina
