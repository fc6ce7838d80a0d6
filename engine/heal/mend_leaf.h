// SPDX-License-Identifier: Apache-2.0
// A leaf of which no copy is left, made again as it was: what do summaries and records say of its
// range, of a map that has it? The node table knows how many blocks of data were in it; where that
// is not what is found, nothing is. It has no birth, so every device copies it before it changes
// it, which is always right.
// Thread-safety: any number at a time. Errors: corrupt, it cannot be told; io.
#pragma once

#include "base/task.h"
#include "engine/heal/survey.h"
#include "engine/maps/node.h"

namespace lamina {

Task<Result<Node>> mend_leaf(PoolState& pool, NodeEntry entry, NodePlace place);

}  // namespace lamina
