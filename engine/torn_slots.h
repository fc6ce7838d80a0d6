// SPDX-License-Identifier: Apache-2.0
// Slots that a crash may have torn, which is no damage: of the checkpoint that was being written,
// and of the newest one, whose slot may have been whole in one of its places when the power went.
// As with the tail of the log what came later tells: a record that names a checkpoint was written
// when its slots were complete (A13).
// Thread-safety: one coroutine. Reads only.
#pragma once

#include <cstdint>
#include <set>

#include "base/checksum.h"
#include "base/task.h"
#include "blobs/blob.h"

namespace lamina {

// Places of the ring; none of a pool that was closed, or whose log cannot be followed.
Task<std::set<uint64_t>> torn_slots(Blobs blobs, Secret secret);

}  // namespace lamina
