// SPDX-License-Identifier: Apache-2.0
// Data that lies where it cannot be read, given up because a person has said so: what of it can
// still be read is written again, what cannot becomes lost (B6), and with that nothing refers to
// the place any more. Both are entries of the log like any other, under new numbers, for every
// device that has it, snapshots too; so a crash leaves a prefix of them, and a rebuild says the
// same.
// Thread-safety: any number at a time; users go on, and what they write meanwhile is kept.
#pragma once

#include <functional>

#include "base/result.h"
#include "base/task.h"
#include "base/units.h"

namespace lamina {

class PoolState;

// Whatever lies in those segments, or is stated there. Durable when it returns. Errors: read_only;
// no_space, for what can be read; io.
Task<Result<>> give_up_unreadable(PoolState& pool, std::function<bool(Generation)> segments);

}  // namespace lamina
