// SPDX-License-Identifier: Apache-2.0
// The geometry of a blob on its disk: where superblock copies, checkpoint slots and segments lie.
//
//   [0, 1 MiB)            superblock copies at 0 and at 32 KiB, slot ring at 64 KiB
//   segments 0 .. h-1     from the first multiple of the erase size past 1 MiB
//   [middle, +1 MiB)      superblock copy (rounded to the erase size)
//   segments h .. n-1
//   [size - 1 MiB, size)  slot ring, superblock copy in the last block
//
// The first and last MiB never carry payload, so that blkid, LVM or ZFS find lamina's magic there
// and nothing that a guest wrote. A blob that has grown keeps its middle where it was.
// Thread-safety: from any thread. All but grow_to() change nothing; what they return stays valid,
// and
//   is what was true when they were asked.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/task.h"
#include "blobs/disk.h"
#include "blobs/frame.h"
#include "blobs/layout.h"
#include "blobs/slot.h"
#include "blobs/superblock.h"

namespace lamina {

class Blob {
 public:
  // What a disk of `size` bytes holds: the segment size so that there are at least 128 (down to
  // 256 KiB) and at most 2^18 segments, a multiple of `erase_bytes` (0 = not told) where that is
  // sensible. `segment_bytes` 0 = choose. The fields are those of the superblock.
  // Errors: no_space, under 64 MiB; too_big; invalid, a segment size that cannot be.
  struct Geometry {
    uint64_t size = 0;
    uint64_t middle = 0;
    uint32_t segment_blocks = 0;
    uint32_t segment_count = 0;
    uint32_t erase_bytes = 0;
    // Makes a blob's superblock say so.
    void write_to(Superblock& superblock) const;
  };
  static Result<Geometry> plan(uint64_t size, uint64_t segment_bytes, uint64_t erase_bytes);

  // The same blob on a disk that is now `size` bytes: the middle stays, the copies at the end move.
  // Error invalid: it is smaller than it was.
  static Result<Superblock> grown(const Superblock& superblock, uint64_t size);

  // Neither reads nor writes. `superblock` as unpacked, or made from a plan.
  Blob(std::shared_ptr<Disk> disk, Superblock superblock);

  Disk& disk() const { return *disk_; }
  const Superblock& superblock() const { return shape().superblock; }
  BlobId id() const { return superblock().blob; }
  uint32_t segment_blocks() const { return superblock().segment_blocks; }
  uint32_t segment_count() const { return superblock().segment_count; }
  BlobKind kind() const { return superblock().kind; }
  // How many addresses a segment has for payload: where it is compressed, more than it has blocks.
  uint32_t address_blocks() const {
    return segment_blocks() * (kind() == BlobKind::compression ? virtual_ratio : 1);
  }
  uint64_t segment_bytes() const { return uint64_t{segment_blocks()} * block_size; }
  // Byte offset on the disk of a block of a segment.
  uint64_t offset(uint32_t segment, uint32_t block) const;
  // Byte offsets of the superblock copies.
  std::array<uint64_t, superblock_copies> superblock_offsets() const;
  // Byte offsets of the two copies of the slot of checkpoint `number`.
  std::array<uint64_t, 2> slot_offsets(CheckpointNumber number) const;
  // Both copies of the log's mark.
  std::array<uint64_t, 2> log_mark_offsets() const;

  // Reads all superblock copies of a disk; the first good one serves, in the order start, spare,
  // end, middle, of the blob that most copies name. `damaged` counts those that are not its equal:
  // unreadable, damaged, older, or of another blob.
  // Errors, with the disk's name: not_found, it holds no blob; unsupported, a newer lamina's;
  // corrupt, no copy is good, or the disk is smaller than its blob; io, nothing could be read.
  struct Found {
    Superblock superblock;
    uint32_t damaged = 0;
  };
  static Task<Result<Found>> find(Disk& disk);
  // How somebody has the disk: makes what was written durable, and counts it.
  struct Access {
    std::function<Task<Result<>>()> flush;
    std::function<void(uint64_t bytes)> wrote = [](uint64_t) {};
  };
  // Writes all superblock copies and flushes; at every moment one copy, old or new, is whole.
  Task<Result<>> write_superblocks(Access access);
  // Zeroes over everything that somebody could find it by: both edges, with slots and superblock
  // copies, and the one in the middle; flushed.
  Task<Result<>> wipe(Access access);
  Access alone();  // of those who have the disk to themselves

  // All of a segment, into memory of its size, in requests that run beside each other. Error io.
  Task<Result<>> read_segment(uint32_t segment, std::span<std::byte> into) const;
  // As much of it as can be read; the other blocks are zeroes. Error io: nothing of it can.
  Task<Result<>> read_readable(uint32_t segment, std::span<std::byte> into) const;

  // What the disk has become larger by, if it is worth taking in, as a superblock. Errors: invalid
  // and io, it has become smaller or its size is unknown.
  Result<std::optional<Superblock>> larger();
  // Takes it in. Nobody writes checkpoint slots or superblocks meanwhile.
  // What must be durable before what: zeroes and the second copies of the slots at the new end;
  // then all superblock copies but the first, then that; then this blob is larger. A crash or an
  // error before the end leaves the old size or the new one, both with all slots, and may be
  // followed by another attempt. Error io.
  Task<Result<>> grow_to(Superblock larger, Access access);

 private:
  struct Shape {
    Superblock superblock;
    Layout layout;
  };
  const Shape& shape() const { return *shape_.load(std::memory_order_acquire); }
  void take_shape(Superblock superblock);
  Task<Result<>> copy_slots_to(const Blob& larger, const Access& access) const;

  std::shared_ptr<Disk> disk_;
  // The newest last; the older ones are kept for those who look at them.
  std::vector<std::unique_ptr<const Shape>> shapes_;
  std::atomic<const Shape*> shape_{nullptr};
};

// Those of a pool. Shared by the pool, which may let go of one while it serves, and whoever is
// looking at them just then.
using Blobs = std::vector<std::shared_ptr<Blob>>;

// A blob that has taken in what its disk had become larger by.
struct GrownBlob {
  std::string name, path;
  uint64_t old_size = 0, size = 0;  // of the disk, bytes
  uint32_t old_segments = 0, segments = 0;
};

// Lets each of the blobs that is called `name` (all, where that is empty) and can become larger do
// so by `grow`; those that have, in order. Errors: not_found, no blob has that name; those of
// larger() and of `grow`.
using GrowBlob = std::function<Task<Result<>>(Blob& blob, Superblock larger)>;
Task<Result<std::vector<GrownBlob>>> grow_blobs(Blobs blobs, std::string name, GrowBlob grow);

}  // namespace lamina
