// SPDX-License-Identifier: Apache-2.0
// Who a disk is, where all copies of its superblock are gone: its segments' headers carry the pool's
// identity and secret and say where they lie, and a slot, where one is left, names the member.
// Thread-safety: one coroutine. Reads only.
#pragma once

#include <memory>

#include "base/task.h"
#include "blobs/disk.h"
#include "blobs/superblock.h"

namespace lamina {

// `like`: what else is known of it: names, kind and tier as the pool file has them, and a new uuid
// for where no slot tells the old one. Errors: not_found, no header of a segment is on the disk; io.
Task<Result<Superblock>> superblock_from_segments(std::shared_ptr<Disk> disk, Superblock like);

}  // namespace lamina
