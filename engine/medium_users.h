// SPDX-License-Identifier: Apache-2.0
// Who refers to data at places of segments. There is no reverse index, so an image is asked: a walk
// of it finds a leaf for each pointer to the places, and every map is then looked up at the blocks
// that those name, so that all who share a leaf are found, and aliases with them. What is not
// merged yet is not found.
// Thread-safety: one coroutine each; any number at a time.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/result.h"
#include "base/task.h"
#include "engine/image.h"
#include "engine/space/moved_parts.h"

namespace lamina {

class PoolState;

struct MediumUser {
  MapId map = MapId::none;
  BlockRange range;    // what of the map lies there
  bool alias = false;  // shared by a copy
};

// Every user of the parts, map by map. Errors: busy, the pool closes or users wait for space; io,
// corrupt, the maps could not be read.
Task<Result<>> find_medium_users(PoolState& pool, ImagePtr image,
                                 std::shared_ptr<const MovedParts> parts,
                                 std::function<void(const MediumUser&)> visit);

// All of them, of the newest image, however often users' need of space interrupts it. Error: what
// `go_on` says, which is asked before each other attempt.
Task<Result<std::vector<MediumUser>>> all_medium_users(PoolState& pool,
                                                       std::vector<MovedParts::Part> places,
                                                       std::function<Result<>()> go_on);

}  // namespace lamina
