// SPDX-License-Identifier: Apache-2.0
// A raw partition or a plain file, by O_DIRECT and io_uring on the UringLoop of the thread that
// submits. Holds an exclusive lock for as long as it lives (O_EXCL on block devices, flock on
// files), so that a second daemon is refused and the lock dies with the process.
// Thread-safety, durability: as Disk says.
// Ownership: of its descriptor and its claim; destroyed when nothing is under way.
// Errors of operations: EIO for a transfer that ends early (a truncated file) and for a read past
//   the end; ENOSPC from prepare, where the host's file system is full; else what the kernel said.
//   A discard that the device or file system cannot do succeeds and does nothing.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "blobs/disk.h"

namespace lamina {

struct FileDiskOptions {
  bool read_only = false;  // shares a file with other readers, never with a writer
  uint64_t offset = 0;     // of the part, bytes, multiple of a block
  uint64_t length = 0;     // multiple of a block; 0 = to the end
};

// Blocks for a moment: opens, locks and reads one block.
// Errors, with the path and what to do: not_found; access; busy: in use by another daemon or
// mounted; invalid: neither a regular file nor a block device, or the part lies outside it;
// unsupported: no O_DIRECT there; io: cannot be read.
Result<std::unique_ptr<Disk>> open_file_disk(const std::string& path,
                                             const FileDiskOptions& options);

// How a path becomes a disk: open_file_disk, or what a test puts in its place.
using OpenDisk = std::function<Result<std::unique_ptr<Disk>>(const std::string& path,
                                                             const FileDiskOptions& options)>;

// Makes a sparse file of `size` bytes that survives a crash of the host; exists if there is one.
Result<> create_disk_file(const std::string& path, uint64_t size);

}  // namespace lamina
