// SPDX-License-Identifier: Apache-2.0
#include "blobs/throttled_disk.h"

#include <algorithm>
#include <utility>

#include "base/executor.h"

namespace lamina {

ThrottledDisk::ThrottledDisk(std::unique_ptr<Disk> disk, uint64_t bytes_a_second)
    : disk_(std::move(disk)), bytes_a_second_(bytes_a_second) {}

// One after the other, as if each took its time.
uint64_t ThrottledDisk::begin_ns(bool writes, uint64_t length, uint64_t now_ns) {
  const double takes_ns =
      static_cast<double>(length) * 1e9 / static_cast<double>(bytes_a_second_);
  Lock lock(mutex_);
  uint64_t& free_ns = free_ns_[writes ? 1 : 0];
  const uint64_t begin = std::max(free_ns, now_ns);
  free_ns = begin + static_cast<uint64_t>(takes_ns);
  return begin;
}

void ThrottledDisk::submit(DiskOperation& operation) {
  using Kind = DiskOperation::Kind;
  const bool reads = operation.kind == Kind::read;
  if (!reads && operation.kind != Kind::write && operation.kind != Kind::write_through)
    return disk_->submit(operation);
  const uint64_t now = Executor::current().now_ns();
  const uint64_t begin = begin_ns(!reads, operation.length, now);
  if (begin <= now) return disk_->submit(operation);
  spawn(submit_later(operation, begin - now));
}

// By who would have submitted it: a disk belongs to the loop of that thread.
Task<void> ThrottledDisk::submit_later(DiskOperation& operation, uint64_t wait_ns) {
  const Sleep waiting{wait_ns};
  co_await waiting;
  disk_->submit(operation);
}

}  // namespace lamina
