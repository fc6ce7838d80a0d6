// SPDX-License-Identifier: Apache-2.0
// A disk that reads a medium at once and as it is now, whatever the disk that a pool has open over
// it is doing. Writes nothing. Thread-safety: none. Ownership: the medium outlives it.
#pragma once

#include <cerrno>

#include "base/executor.h"
#include "base/task.h"
#include "blobs/disk.h"
#include "blobs/sim_medium.h"

namespace lamina::sim {

class MediumSnapshot final : public Disk {
 public:
  explicit MediumSnapshot(const SimMedium& medium) : medium_(medium) {}

  uint64_t size() const override { return medium_.size(); }
  const DiskTraits& traits() const override { return medium_.traits(); }
  const std::string& name() const override { return medium_.name(); }
  void submit(DiskOperation& operation) override { spawn(answer(medium_, operation)); }
  Result<uint64_t> refresh_size() override { return medium_.size(); }

 private:
  static Task<void> answer(const SimMedium& medium, DiskOperation& operation) {
    co_await Yield{};
    if (operation.kind != DiskOperation::Kind::read) {
      operation.complete(EROFS);
      co_return;
    }
    medium.read(operation.offset, {operation.data, operation.length});
    operation.complete(0);
  }

  const SimMedium& medium_;
};

}  // namespace lamina::sim
