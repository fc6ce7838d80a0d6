// SPDX-License-Identifier: Apache-2.0
// The geometry of a blob on its disk: where superblock copies, checkpoint slots and segments lie.
//
//   [0, 1 MiB)            superblock copy at 0, slot ring at 64 KiB
//   segments 0 .. h-1     from the first multiple of the erase size past 1 MiB
//   [middle, +1 MiB)      superblock copy (rounded to the erase size)
//   segments h .. n-1
//   [size - 1 MiB, size)  slot ring, superblock copy in the last block
//
// The first and last MiB never carry payload, so that blkid, LVM or ZFS find lamina's magic there
// and nothing that a guest wrote. A blob that has grown keeps its middle where it was.
// Thread-safety: immutable after construction, except grow().
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "base/task.h"
#include "blobs/disk.h"
#include "blobs/slot.h"
#include "blobs/superblock.h"

namespace lamina {

inline constexpr uint32_t slot_ring_length = 8;

class JournalBlob {
 public:
  // What a disk of `size` bytes holds: the segment size so that there are at least 128 (down to
  // 256 KiB) and at most 2^18 segments. `segment_bytes` 0 = choose. Error no_space: under 64 MiB.
  struct Geometry {
    uint32_t segment_blocks = 0;
    uint32_t segment_count = 0;
    uint32_t erase_bytes = 0;
  };
  static Result<Geometry> plan(uint64_t size, uint64_t segment_bytes, uint64_t erase_bytes);

  // Neither reads nor writes.
  JournalBlob(std::shared_ptr<Disk> disk, Superblock superblock);

  Disk& disk() const { return *disk_; }
  const Superblock& superblock() const { return superblock_; }
  BlobId id() const { return superblock_.blob; }
  uint32_t segment_blocks() const { return superblock_.segment_blocks; }
  uint32_t segment_count() const { return superblock_.segment_count; }
  uint64_t segment_bytes() const { return uint64_t{segment_blocks()} * block_size; }
  // Byte offset on the disk of a block of a segment.
  uint64_t offset(uint32_t segment, uint32_t block) const;
  // Byte offsets of the three superblock copies.
  std::array<uint64_t, 3> superblock_offsets() const;
  // Byte offsets of the two copies of the slot of checkpoint `number`.
  std::array<uint64_t, 2> slot_offsets(CheckpointNumber number) const;

  // Reads all superblock copies of a disk; the first good one serves. `damaged` counts the bad.
  struct Found {
    Superblock superblock;
    uint32_t damaged = 0;
  };
  static Task<Result<Found>> find(Disk& disk);
  // Writes all superblock copies and flushes.
  Task<Result<>> write_superblocks();

 private:
  std::shared_ptr<Disk> disk_;
  Superblock superblock_;
  uint64_t first_, middle_, middle_end_;  // bytes
  uint32_t before_middle_;                // segments
};

}  // namespace lamina
