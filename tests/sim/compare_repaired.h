// SPDX-License-Identifier: Apache-2.0
// The proof that a repair loses nothing, and guesses nothing: in a copy of what a recovery began
// from all checkpoints and all nodes are destroyed; repaired and opened, it must show what the pool
// shows. Or more is destroyed, which cannot be told any more (harm.h); then it shows that, or EIO,
// and never something older or something else. Thread-safety: none. The pool itself is not touched.
#pragma once

#include <random>
#include <vector>

#include "oracle.h"
#include "pool_machine.h"
#include "report.h"

namespace lamina::sim {

// Takes what the machine kept as it was found (PoolOptions::keeps_found).
void compare_repaired(PoolMachine& machine, const std::vector<Oracle::Found>& found,
                      std::mt19937_64& random, Report& report);

}  // namespace lamina::sim
