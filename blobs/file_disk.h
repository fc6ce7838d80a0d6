// SPDX-License-Identifier: Apache-2.0
// A raw partition or a plain file, by O_DIRECT and io_uring on the UringLoop of the thread that
// submits. Holds an exclusive lock for as long as it lives (O_EXCL on block devices, flock on
// files), so that a second daemon is refused and the lock dies with the process.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "blobs/disk.h"

namespace lamina {

struct FileDiskOptions {
  bool read_only = false;
  uint64_t offset = 0;  // of the part, bytes, multiple of a block
  uint64_t length = 0;  // 0 = to the end
};

// Errors, with the path and what to do: not_found; access; busy: in use by another daemon or
// mounted; invalid: neither a regular file nor a block device, or the part lies outside it;
// unsupported: no O_DIRECT there.
Result<std::unique_ptr<Disk>> open_file_disk(const std::string& path,
                                             const FileDiskOptions& options);

// Makes a sparse file of `size` bytes; exists if there is one.
Result<> create_disk_file(const std::string& path, uint64_t size);

}  // namespace lamina
