// SPDX-License-Identifier: Apache-2.0
// A blob that a pool file names, and its pool does not have yet, becomes a member while the pool is
// served. The file is what the next mount reads, so it is changed first.
// Thread-safety: on the thread of a UringLoop that outlives the pool.
// Errors, with the path and what to do, before anything is written: exists, the disk holds
//   something and `force` is not set, or the blob is a member already; busy, it is in use;
//   not_found; invalid, the file is of another pool, or does not name all its members; those of
//   Pool::add_blob.
#pragma once

#include <string>

#include "base/task.h"
#include "config/pool_config.h"
#include "engine/pool.h"

namespace lamina {

Task<Result<>> add_blob_to(Pool& pool, PoolConfig config, std::string name, bool force);

}  // namespace lamina
