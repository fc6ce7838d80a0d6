// SPDX-License-Identifier: Apache-2.0
// What summaries and records say of a range of one map, as of an image: for those who make nodes
// again of which no copy is left.
// Thread-safety: any number at a time. Memory: what is said of the range, bounded, and a summary.
#pragma once

#include <span>
#include <vector>

#include "base/task.h"
#include "engine/image.h"
#include "engine/maps/extent.h"
#include "engine/rebuild_scan.h"

namespace lamina {

class PoolState;

// Everything that segments say of a range that the map can see at the image's cut (B2). They are
// asked of the segments that the image may refer to, so what is found is alive: what the mover
// filled counts once it was published at that cut, what the image found dead does not.
// Errors: corrupt, a segment does not tell all that it holds; io.
Task<Result<Scan>> scan_range(PoolState& pool, ImagePtr image, MapId map, BlockRange range);

// So many blocks of data that lie in the pool are in them.
uint64_t stored_blocks(std::span<const Extent> extents);

// The node table knows how many blocks of data are in or below a node. Error corrupt: others are
// found.
Result<> expect_blocks(const NodeEntry& entry, uint64_t found);

// Rebuilding makes references out of summaries (A8): what a leaf of the newest image refers to is
// shared anew, so that no walk of an image without the leaf frees it. (What an older one refers to,
// whoever asks holds.) Error corrupt: it is gone.
Result<> share_again(PoolState& pool, std::span<const Extent> extents);

}  // namespace lamina
