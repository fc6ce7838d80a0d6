// SPDX-License-Identifier: Apache-2.0
// Reads everything that a store shows, for the oracle to compare.
// Thread-safety: none; a coroutine on the store's executor.
#pragma once

#include <vector>

#include "oracle.h"
#include "report.h"
#include "store.h"

namespace lamina::sim {

// Small devices are read whole, large ones wherever anything was ever written and beside it.
// `damaged`: blocks of a device that may answer EIO.
Task<void> gather(Store& store, const Oracle& oracle,
                  const std::map<DeviceId, std::vector<uint64_t>>& damaged,
                  std::vector<Oracle::Found>& out, Report& report);

}  // namespace lamina::sim
