// SPDX-License-Identifier: Apache-2.0
// Tells the kernel that what it keeps of a device is out of date: its attributes, and the pages
// that somebody has mapped, of which the dirty ones are written back first. Thread-safety: from the
// thread of any UringLoop. Ownership: fd outlives it; it outlives the loops that it was called on.
#pragma once

#include <linux/fuse.h>

#include <atomic>
#include <cstdint>

#include "base/task.h"
#include "blobs/uring_loop.h"
#include "fuse/inode.h"

namespace lamina {

class Notifier {
 public:
  explicit Notifier(int fd) : fd_(fd) {}

  // Sent, and not waited for.
  void changed(UringLoop& loop, Inode inode);
  // What was dirty when it was called has been written, by requests to this very file system.
  Task<void> write_back(UringLoop& loop, Inode inode);

 private:
  struct Message;
  struct Sent;
  struct Awaited;
  // More at a time are not sent: the attributes are asked for again within attributes_timeout_s
  // anyway.
  static constexpr uint32_t max_under_way = 1024;
  const int fd_;
  std::atomic<uint32_t> under_way_{0};
};

}  // namespace lamina
