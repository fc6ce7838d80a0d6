// SPDX-License-Identifier: Apache-2.0
// From what the disks hold to a pool that serves: the newest slot that is still backed, its tables,
// then the log's entries after its cut, along the chain.
//
//   1. slots: the valid ones of all journal blobs; none older than any evidence says is still
//      backed (A13); its members must all be here;
//   2. tables: per page the copy that is good; else the slot before it, and more roll-forward;
//   3. roll forward: headers along the chain, densely numbered; below durable-through by header,
//      above it only with payload that matches (A2). Where an epoch was cut before, the first
//      record of the next one says so and decides; what was decided once is not decided again;
//   4. write what was accepted by its payload alone once more, as it is, since a flush of the life
//      before may have failed on it (A19); flush every disk, so that what was read cannot go away
//      any more; then the next epoch begins
//      in the last segment that the chain names, with the cut in its first record (A3);
//   5. segments that the crash left open are sealed from their records; those that hold only void
//      entries are free at once (D10).
// Nothing is written before 4. Read-only: nothing is written at all.
#pragma once

#include <memory>
#include <vector>

#include "engine/pool_state.h"

namespace lamina {

Task<Result<std::unique_ptr<PoolState>>> recover(Blobs blobs, Settings settings);

}  // namespace lamina
