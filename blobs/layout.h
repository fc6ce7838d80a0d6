// SPDX-License-Identifier: Apache-2.0
// Where things lie on a blob's disk, from the four numbers that a superblock keeps of it; the
// drawing is in blob.h.
// Thread-safety: a plain value. Units: bytes unless the name says otherwise.
#pragma once

#include <array>
#include <cstdint>

#include "base/units.h"

namespace lamina {

inline constexpr uint64_t min_blob_bytes = 64 * mib;
inline constexpr uint64_t edge_bytes = 1 * mib;                // at both ends: never payload
inline constexpr uint64_t spare_superblock_offset = 32 * kib;  // where it is whatever the size
inline constexpr uint64_t slot_ring_offset = 64 * kib;         // in the first and in the last MiB
inline constexpr uint32_t slot_ring_length = 8;
inline constexpr size_t superblock_copies = 4;

struct Layout {
  uint64_t size = 0;  // multiple of a block
  uint64_t segment_bytes = 0;
  uint64_t first = 0;   // of segment 0
  uint64_t middle = 0;  // of the middle copy's area
  uint64_t middle_end = 0;
  uint32_t before_middle = 0;  // segments
  uint32_t segment_count = 0;

  // A blob that is laid out afresh, its middle copy in the middle.
  static Layout fresh(uint64_t disk_size, uint64_t segment_bytes, uint64_t erase_bytes);
  // A blob whose middle was fixed when it was formatted. Where the numbers make no sense,
  // segment_count is 0.
  static Layout of(uint64_t disk_size, uint64_t middle, uint64_t segment_bytes,
                   uint64_t erase_bytes);

  uint64_t offset(uint32_t segment) const {
    return segment < before_middle ? first + segment * segment_bytes
                                   : middle_end + (segment - before_middle) * segment_bytes;
  }
  std::array<uint64_t, superblock_copies> superblock_offsets() const {
    return {0, spare_superblock_offset, middle, size - block_size};
  }
};

}  // namespace lamina
