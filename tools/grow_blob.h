// SPDX-License-Identifier: Apache-2.0
// Takes in what a disk or file of a pool has become larger by. The pool must not be mounted.
// Thread-safety: on the thread of a UringLoop.
// Durability: done when it returns; a crash meanwhile leaves the blob at its old size.
// Errors: those of open_blobs; not_found, no blob has that name; invalid, nothing has grown.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/task.h"
#include "config/pool_config.h"

namespace lamina {

struct GrownBlob {
  std::string name, path;
  uint64_t old_size = 0, size = 0;  // bytes
  uint32_t old_segments = 0, segments = 0;
};

// `name` empty: every blob that has room to grow. Those that did, at least one.
Task<Result<std::vector<GrownBlob>>> grow_blobs(PoolConfig config, std::string name);

}  // namespace lamina
