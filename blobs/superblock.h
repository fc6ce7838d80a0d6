// SPDX-License-Identifier: Apache-2.0
// Who a disk is: copies at its start, middle and end. Superblocks only help members find each
// other; who belongs to the pool is decided by the checkpoint slot (A13).
// Thread-safety: plain values.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "blobs/segment.h"

namespace lamina {

enum class BlobKind : uint8_t { journal = 1, transparent = 2, compression = 3 };
const char* name_of(BlobKind kind);

struct Superblock {
  Uuid pool{};
  Secret secret{};
  std::string pool_name;  // at most 63 bytes
  BlobId blob = BlobId::none;
  Uuid blob_uuid{};
  std::string blob_name;  // at most 63 bytes
  BlobKind kind = BlobKind::journal;
  uint32_t tier = 0;
  uint64_t size = 0;    // bytes of the disk that are used
  uint64_t middle = 0;  // byte offset of the middle copy; fixed at format, kept by grow
  uint32_t segment_blocks = 0;
  uint32_t segment_count = 0;
  uint32_t erase_bytes = 0;                          // what segments were aligned to
  uint64_t created_ns = 0;                           // wall clock
  uint64_t compat = 0, ro_compat = 0, incompat = 0;  // feature words
  friend bool operator==(const Superblock&, const Superblock&) = default;
};

// Fills one block. Asserts what unpack_superblock checks: names without NUL, a segment count that
// fits the size (layout.h).
void pack_superblock(const Superblock& superblock, std::span<std::byte> block);
// Errors: not_found, no magic here; unsupported, a newer format (the message says which feature);
// corrupt, the checksum or a value is wrong.
Result<Superblock> unpack_superblock(std::span<const std::byte> block);

// Whether it has a feature of a newer lamina that forbids this one to write.
bool needs_read_only(const Superblock& superblock);

}  // namespace lamina
