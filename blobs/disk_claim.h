// SPDX-License-Identifier: Apache-2.0
// The right to use a part of a file or block device alone, for as long as the object lives and at
// most as long as the process.
//   A file: flock (exclusive for the whole, shared for a part) and an open-file-description lock of
//     the range, so that several daemons may share a file in parts that do not overlap.
//   A block device: one O_EXCL opening per process, shared by its parts: nobody else may mount it
//     or open it so. Several daemons want partitions.
// Thread-safety: any thread. Ownership: of the locks, not of the descriptor given.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>

#include "base/result.h"

namespace lamina {

class DiskClaim {
 public:
  struct Part {
    uint64_t offset = 0, length = 0;  // bytes; length 0: to the end, however far that moves
    bool shared = false;              // among readers
  };
  // `fd` is an open descriptor of `path`. Error busy: someone else has it; the message says how to
  // find out who.
  static Result<DiskClaim> take(const std::string& path, int fd, const struct stat& about,
                                const Part& part);

  DiskClaim() = default;
  DiskClaim(DiskClaim&& other) noexcept;
  DiskClaim& operator=(DiskClaim&& other) noexcept;
  ~DiskClaim();

 private:
  // Files need nothing here: the locks go with the descriptor.
  bool block_device_ = false;
  dev_t device_ = 0;
  uint64_t begin_ = 0, end_ = 0;
};

}  // namespace lamina
