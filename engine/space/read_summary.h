// SPDX-License-Identifier: Apache-2.0
// The summary of a sealed segment, read from the medium.
// Thread-safety: any number at a time. Errors: not_found, corrupt (also: it is not sealed yet), io.
#pragma once

#include "base/task.h"
#include "blobs/summary.h"

namespace lamina {

class PoolState;

Task<Result<Summary>> read_summary(PoolState& pool, Generation generation);

}  // namespace lamina
