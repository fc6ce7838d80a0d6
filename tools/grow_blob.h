// SPDX-License-Identifier: Apache-2.0
// Takes in what a disk or file of a pool has become larger by. The pool must not be mounted.
// Thread-safety: on the thread of a UringLoop.
// Durability: done when it returns; a crash meanwhile leaves the blob at its old size.
// Errors: those of open_blobs; not_found, no blob has that name.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/task.h"
#include "blobs/blob.h"
#include "config/pool_config.h"

namespace lamina {

// `name` empty: every blob that has room to grow. Those that did.
Task<Result<std::vector<GrownBlob>>> grow_pool(PoolConfig config, std::string name);

}  // namespace lamina
