// SPDX-License-Identifier: Apache-2.0
// An image outside the pool, read only: the transparent blob without segments. As long as its size
// says, rounded up to a block; what is behind its end inside the last one reads as zeroes.
// Implementations: open_image_file() (blobs/image_file.h), the simulator's.
// Thread-safety: as Disk says; state() from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "blobs/disk.h"

namespace lamina {

struct ImageState {
  uint64_t size_bytes = 0;
  uint64_t mtime_ns = 0, ctime_ns = 0, inode = 0;  // of regular files; else 0
  // Nobody can have written to it since it was opened: the kernel has promised to tell first.
  bool leased = false;
  friend bool operator==(const ImageState&, const ImageState&) = default;
};

class ImageDisk : public Disk {
 public:
  // As of now; short. Error io: it cannot be asked any more.
  virtual Result<ImageState> state() = 0;
  Result<uint64_t> refresh_size() override { return size(); }
};

// Blocks for a moment. Errors, with the path and what to do: those of open_image_file().
using OpenImage = std::function<Result<std::shared_ptr<ImageDisk>>(const std::string& path)>;

}  // namespace lamina
