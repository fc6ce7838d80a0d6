// SPDX-License-Identifier: Apache-2.0
// The part of a check that looks at one blob alone: superblock copies, checkpoint slots, segment
// headers and summaries. Thread-safety: on the thread of a UringLoop.
#pragma once

#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/task.h"
#include "blobs/blob.h"
#include "blobs/segment.h"
#include "blobs/slot.h"
#include "tools/check.h"
#include "tools/check_checkpoint.h"

namespace lamina {

// The segments that have a header of this pool, by generation.
struct SegmentPlace {
  BlobId blob = BlobId::none;
  uint32_t index = 0;
  uint32_t addresses = 0;  // of payload
  SegmentState state = SegmentState::open;
};
using SegmentIndex = std::unordered_map<uint32_t, SegmentPlace>;

// Whole blocks at an offset of its disk. Error io.
Task<Result<>> read_blocks(Blob& blob, uint64_t offset, std::span<std::byte> into);

Task<void> check_superblocks(Blob& blob, CheckReport& report);

// The newest checkpoint that the blob has a good slot of; none: it has none, and that is reported.
// `torn`: places of the ring in which a crash may have left anything that can be read.
Task<std::optional<Slot>> check_slots(Blob& blob, const std::set<uint64_t>& torn,
                                      CheckReport& report);

// `known`: as the newest checkpoint says. Adds to `index` what it finds.
Task<void> check_segments(Blob& blob, const KnownSegments& known, const CheckOptions& options,
                          SegmentIndex& index, CheckReport& report);

}  // namespace lamina
