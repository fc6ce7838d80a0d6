// SPDX-License-Identifier: Apache-2.0
// From a config to the blobs of its pool: opens the disks, finds the superblocks and sees that they
// are the members that the config means. What mount, check and inspect begin with.
// Thread-safety: on the thread of a UringLoop, which outlives the blobs.
// Ownership: the blobs hold their disks, and with them the locks that keep others away.
// Errors, with path and what to do: not_found, a path is missing or holds no pool; busy; invalid, a
//   member of another pool, or two swapped; corrupt, a member is cut short or no superblock copy is
//   good; unsupported, a newer format; access; io.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/task.h"
#include "blobs/blob.h"
#include "blobs/file_disk.h"
#include "config/pool_config.h"
#include "engine/settings.h"

namespace lamina {

struct OpenedBlobs {
  Blobs blobs;  // in the order of their ids
  std::string pool_name;
  Uuid pool{};
  std::vector<std::string> warnings;  // what a person should hear although it opened
  std::map<std::string, std::string> absent;  // those that are not in `blobs`, by name: why
};

// `all`: each blob of the config has to be there; else one at least, and whether the pool can be
// served without the others is the engine's to say.
Task<Result<OpenedBlobs>> open_blobs(PoolConfig config, bool read_only,
                                     OpenDisk open_disk = open_file_disk, bool all = true);

// Whether the blob that lies at the path is the one that the config names there. Error invalid.
Result<> check_identity(const BlobConfig& wanted, const Superblock& found,
                        const PoolConfig& config);

BlobKind blob_kind(BlobConfig::Kind kind);

// The engine's share of a config.
Settings engine_settings(const PoolConfig& config);

}  // namespace lamina
