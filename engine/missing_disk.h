// SPDX-License-Identifier: Apache-2.0
// Stands for the disk of a member that is not there, so that a pool can be served without it: what
// lies on it cannot be read, and the rest can (A13). It is given up from the start, so nothing is
// placed on it; the next slots name its blob as one that has failed, and when the disk comes back
// what lies on it is read again.
// Thread-safety: as Disk.
#pragma once

#include <memory>
#include <string>

#include "blobs/blob.h"
#include "blobs/slot.h"

namespace lamina {

class MissingDisk final : public Disk {
 public:
  explicit MissingDisk(std::string name);
  uint64_t size() const override { return 0; }
  const DiskTraits& traits() const override { return traits_; }
  const std::string& name() const override { return name_; }
  void submit(DiskOperation& operation) override;
  Result<uint64_t> refresh_size() override { return uint64_t{0}; }

 private:
  const std::string name_;
  const DiskTraits traits_{};
};

bool is_missing(const Disk& disk);

// The blob of that member, beside `other`, one of the same pool that is there. The member's slot
// does not say how large its segments are, but the tables of a checkpoint do: until they have been
// read, and where an older version wrote them, `segment_blocks`.
std::shared_ptr<Blob> missing_blob(const SlotMember& member, const Blob& other,
                                   uint32_t segment_blocks);
// The same blob, with segments of that size.
std::shared_ptr<Blob> missing_blob(const Blob& before, uint32_t segment_blocks);

}  // namespace lamina
