// SPDX-License-Identifier: Apache-2.0
// Tells the kernel that what it keeps of a device is out of date: its attributes, and the pages
// that somebody has mapped. Thread-safety: changed() from the thread of any UringLoop. Ownership:
// fd outlives it; it outlives the loops that it was called on.
#pragma once

#include <linux/fuse.h>

#include <atomic>
#include <cstdint>

#include "blobs/uring_loop.h"
#include "fuse/inode.h"

namespace lamina {

class Notifier {
 public:
  explicit Notifier(int fd) : fd_(fd) {}

  void changed(UringLoop& loop, Inode inode);

 private:
  struct Message;
  // More at a time are not sent: the attributes are asked for again within attributes_timeout_s
  // anyway.
  static constexpr uint32_t max_under_way = 1024;
  const int fd_;
  std::atomic<uint32_t> under_way_{0};
};

}  // namespace lamina
