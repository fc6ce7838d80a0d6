// SPDX-License-Identifier: Apache-2.0
// Discards ranges of a block device on a thread of its own: the ioctl blocks, and the ways to do
// it through a ring either write zeroes instead (fallocate) or need Linux 6.12.
// Thread-safety: discard() from any thread that runs an executor. Ownership: of its thread, which
//   the first discard starts and the destructor joins; not of the descriptor.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <semaphore>
#include <thread>

#include "base/executor.h"
#include "base/mutex.h"
#include "base/task.h"

namespace lamina {

class BlockDiscarder {
 public:
  explicit BlockDiscarder(int fd) : fd_(fd) {}
  ~BlockDiscarder();

  // 0 or a positive errno. A device that cannot discard is no error. Never completes before the
  // caller's next turn. Bytes.
  Task<int> discard(uint64_t offset, uint64_t length);

 private:
  struct Job {
    uint64_t offset, length;
    int error = 0;
    Completion done;
  };
  void work();

  const int fd_;
  Mutex mutex_;
  std::deque<Job*> jobs_ GUARDED_BY(mutex_);  // bounded by the operations under way
  std::thread thread_ GUARDED_BY(mutex_);
  std::counting_semaphore<> waiting_{0};
  std::atomic<bool> stopping_ = false;
};

}  // namespace lamina
