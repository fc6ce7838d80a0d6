// SPDX-License-Identifier: Apache-2.0
// Makes an empty pool on the disks that a config names.
// Thread-safety: on the thread of a UringLoop.
// Durability: when it returns the pool is on the medium.
// Errors, with the path, before anything is written: exists, a target holds something and `force`
//   is not set; busy, it is in use; no_space, it is too small; unsupported; invalid; not_found.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/task.h"
#include "blobs/blob.h"
#include "blobs/segment.h"
#include "config/pool_config.h"
#include "engine/pool.h"

namespace lamina {

struct MadeBlob {
  std::string name, kind, path;
  uint64_t size = 0;  // bytes
  uint64_t segment_bytes = 0;
  uint32_t segment_count = 0;
};

// A target that has been looked at, and locked, not touched.
struct Target {
  std::shared_ptr<Disk> disk;
  Blob::Geometry geometry;
  uint64_t erase_bytes = 0;
};
// Errors as below.
Result<Target> look_at(const BlobConfig& blob, const PoolConfig& config, bool force);

// A random UUID, version 4.
Result<Uuid> new_uuid();

struct MadePool {
  std::string name;
  Uuid uuid{};
  std::vector<MadeBlob> blobs;
};

// `root`: owner and mode of the directory that devices will be in.
Task<Result<MadePool>> make_pool(PoolConfig config, bool force, Attributes root);

}  // namespace lamina
