// SPDX-License-Identifier: Apache-2.0
// What a sealed segment says of itself, read from the medium: its summary, from the one end or the
// other, and its checksums. What is bad or missing of a log segment its records say as well (B4),
// so a damaged summary costs nothing, nor does a disk that could not take it any more.
// Thread-safety: any number at a time. Errors: not_found, corrupt (also: it is not sealed yet), io.
#pragma once

#include <cstdint>
#include <vector>

#include "base/task.h"
#include "blobs/summary.h"

namespace lamina {

class PoolState;

Task<Result<Summary>> read_summary(PoolState& pool, Generation generation);

struct Contents {
  Summary summary;
  std::vector<uint32_t> sums;  // one a block of the segment; of frames: none
};
Task<Result<Contents>> read_contents(PoolState& pool, Generation generation);

// Puts what the records of a log segment say of its checksums in the place of what is cached.
Task<Result<>> read_log_sums(PoolState& pool, Generation generation);

}  // namespace lamina
