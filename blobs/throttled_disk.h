// SPDX-License-Identifier: Apache-2.0
// A disk that is made slower than it is: so many bytes a second are read, and as many written, and
// not more, so that a measurement can be of disks that are the limit, where the kernel cannot
// throttle them. Flushes and discards are as fast as ever.
// Thread-safety, durability, errors: as the disk that it slows down, which it owns.
#pragma once

#include <memory>

#include "base/mutex.h"
#include "base/task.h"
#include "blobs/disk.h"

namespace lamina {

class ThrottledDisk final : public Disk {
 public:
  ThrottledDisk(std::unique_ptr<Disk> disk, uint64_t bytes_a_second);

  uint64_t size() const override { return disk_->size(); }
  const DiskTraits& traits() const override { return disk_->traits(); }
  const std::string& name() const override { return disk_->name(); }
  void submit(DiskOperation& operation) override;
  Result<uint64_t> refresh_size() override { return disk_->refresh_size(); }

 private:
  uint64_t begin_ns(bool writes, uint64_t length, uint64_t now_ns);
  Task<void> submit_later(DiskOperation& operation, uint64_t wait_ns);

  const std::unique_ptr<Disk> disk_;
  const uint64_t bytes_a_second_;
  Mutex mutex_;
  uint64_t free_ns_[2] GUARDED_BY(mutex_) = {};  // when the next read, or write, may begin
};

}  // namespace lamina
