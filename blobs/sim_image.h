// SPDX-License-Identifier: Apache-2.0
// Images outside a pool, simulated: bytes and times that a test sets, behind paths.
// Thread-safety: one SimExecutor. Ownership: outlives what was opened, and crashes.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "blobs/image_disk.h"

namespace lamina {

struct SimImage {
  std::vector<std::byte> bytes;
  uint64_t mtime_ns = 1, ctime_ns = 1, inode = 1;
  bool leased = false;
};

class SimImages {
 public:
  // As by a new file of that name; what was opened before stays what it is.
  SimImage& make(const std::string& path, std::vector<std::byte> bytes);
  SimImage& at(const std::string& path) { return *images_.at(path); }
  void remove(const std::string& path) { images_.erase(path); }
  OpenImage opener();

 private:
  std::map<std::string, std::shared_ptr<SimImage>> images_;
  uint64_t inodes_ = 0;
};

}  // namespace lamina
