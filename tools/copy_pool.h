// SPDX-License-Identifier: Apache-2.0
// A copy of all members of a pool, for a repair that leaves the originals alone.
// Thread-safety: none of its own; blocks.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "config/pool_config.h"

namespace lamina {

// Holes stay holes. A pool of one member becomes the file or partition `to`; one of several a
// folder `to`, with an image of each and a pool file. The result is the config of the copy. Errors:
// exists, `to` is a file that is not empty, or a folder that is there; io, no_space, with the path.
using CopyProgress = std::function<void(const std::string& doing, uint64_t done, uint64_t all)>;
Result<PoolConfig> copy_pool(const PoolConfig& config, const std::string& to,
                             const CopyProgress& progress);

}  // namespace lamina
