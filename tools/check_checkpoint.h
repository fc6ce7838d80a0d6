// SPDX-License-Identifier: Apache-2.0
// The part of a check that looks at the checkpoints a pool can be opened from: both copies of every
// page of their tables, and of every node that these name. The engine is content with one of two.
// Thread-safety: on the thread of a UringLoop.
#pragma once

#include <cstdint>
#include <unordered_set>

#include "base/task.h"
#include "blobs/blob.h"
#include "tools/check.h"

namespace lamina {

// What the newest checkpoint says of segments, by generation.
struct KnownSegments {
  // What their seal wrote is on the medium: it was flushed before the slot was written (A11, A15).
  std::unordered_set<uint32_t> sealed;
  // Of data and not found dead, or with nodes of it: nobody has retired it since.
  std::unordered_set<uint64_t> kept;  // of place_of
  std::unordered_set<uint32_t> kept_data;  // of those, by generation, where data is
  // Where its log goes on, or will: what is at least as new it does not know.
  Generation log_began = Generation::none;
};

constexpr uint64_t place_of(BlobId blob, uint32_t index) {
  return uint64_t{static_cast<uint16_t>(blob)} << 32 | index;
}

Task<void> check_checkpoints(const Blobs& blobs, const Secret& secret, const CheckOptions& options,
                             KnownSegments& known, CheckReport& report);

}  // namespace lamina
