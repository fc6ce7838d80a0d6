// SPDX-License-Identifier: Apache-2.0
// Whose data a place on the medium is: the way from a block of a disk back to the devices.
//
// What somebody refers to is data (engine/medium_users.h). What has no pointer is metadata, whose
// place says what it is, or garbage, which waits for the mover and the walk. What is not merged yet
// is merged first.
// Thread-safety: one coroutine each; any number at a time. Durability: changes nothing.
#pragma once

#include <cstdint>
#include <string>

#include "base/task.h"
#include "engine/pool.h"

namespace lamina {

class PoolState;

// `offset`: bytes from the beginning of the blob. Errors: not_found, no blob has that name;
// invalid, it is not so large; busy, the pool closes or users wait for space; io, corrupt, the maps
// could not be read.
Task<Result<MediumPlace>> reverse_map(PoolState& pool, std::string blob, uint64_t offset);

}  // namespace lamina
