// SPDX-License-Identifier: Apache-2.0
// What is in use, and what each device has alone, after a walk, against a count of every block of
// every device's map.
// Thread-safety: none; a coroutine on the store's executor. Nothing else may be under way but what
// the store does by itself.
#pragma once

#include <vector>

#include "report.h"
#include "store.h"

namespace lamina::sim {

// `nameless`: devices that were removed while they were open. `may_fail`: disks fail.
Task<void> check_space(Store& store, std::vector<DeviceId> nameless, bool may_fail, Report& report);

}  // namespace lamina::sim
