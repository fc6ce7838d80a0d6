// SPDX-License-Identifier: Apache-2.0
#include "blobs/block_discarder.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

#include <cerrno>

namespace lamina {

BlockDiscarder::~BlockDiscarder() {
  stopping_ = true;
  waiting_.release();
  std::thread last;
  {
    const Lock lock(mutex_);
    last = std::move(thread_);
  }
  if (last.joinable()) last.join();
}

Task<int> BlockDiscarder::discard(uint64_t offset, uint64_t length) {
  co_await Yield{};
  Job job;
  job.offset = offset;
  job.length = length;
  {
    const Lock lock(mutex_);
    if (!thread_.joinable()) thread_ = std::thread(&BlockDiscarder::work, this);
    jobs_.push_back(&job);
  }
  waiting_.release();
  co_await job.done;
  co_return job.error;
}

void BlockDiscarder::work() {
  for (;;) {
    waiting_.acquire();
    if (stopping_) return;
    Job* job;
    {
      const Lock lock(mutex_);
      job = jobs_.front();
      jobs_.pop_front();
    }
    uint64_t range[2] = {job->offset, job->length};
    if (ioctl(fd_, BLKDISCARD, range) != 0 && errno != EOPNOTSUPP) job->error = errno;
    job->done.signal();
  }
}

}  // namespace lamina
