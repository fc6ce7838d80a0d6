// SPDX-License-Identifier: Apache-2.0
// The proof that the format carries what a repair needs: everything is rebuilt from the medium
// alone and must be what the pool shows.
// Thread-safety: none. The media are looked at as they are; nothing of the pool is used.
#pragma once

#include <vector>

#include "oracle.h"
#include "pool_machine.h"
#include "report.h"

namespace lamina::sim {

void compare_rebuilt(const PoolMachine& machine, const std::vector<Oracle::Found>& found,
                     Report& report);

}  // namespace lamina::sim
