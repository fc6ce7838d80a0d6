// SPDX-License-Identifier: Apache-2.0
// Gives a home to what a repair knows from elsewhere than a segment (C2): the next repair may have
// nothing but segments.
#pragma once

#include "base/task.h"
#include "engine/pool_state.h"
#include "engine/rebuild_scan.h"

namespace lamina {

// How many it is worth and there is room for: half of what the mover may take.
size_t facts_to_restate(const PoolState& pool);

// Entries that say what a range is, and that nothing states, are written to free segments of class
// moved, settled long ago, which become the scan's; the next checkpoint makes them durable. Of
// each of these entries the scan has a copy that lies there then.
// Errors: no_space; io of a disk. Nothing refers to what was written then.
// Thread-safety: one coroutine; nobody else has the pool.
Task<Result<>> restate(PoolState& pool, Scan& scan);

}  // namespace lamina
