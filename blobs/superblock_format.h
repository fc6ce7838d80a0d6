// SPDX-License-Identifier: Apache-2.0
// The superblock as it lies on the medium, under a plain checksum: it is what tells the secret.
// See FORMAT.md.
#pragma once

#include <cstddef>

#include "blobs/block_format.h"
#include "blobs/superblock.h"

namespace lamina {

inline constexpr Magic superblock_magic = {'L', 'A', 'M', 'I', 'N', 'A', 'S', 'B'};

// Features of this version. An unknown compat bit is ignored, an unknown ro_compat bit makes the
// pool read-only, an unknown incompat bit is refused.
inline constexpr uint64_t known_compat = 0;
inline constexpr uint64_t known_ro_compat = 0;
inline constexpr uint64_t known_incompat = 0;

using NameFormat = std::array<char, 64>;  // ends in a zero, and nothing but zeroes behind it

struct SuperblockFormat {
  Magic magic;
  le32 version;
  le32 tier;
  le64 compat;
  le64 ro_compat;
  le64 incompat;
  Uuid pool;
  Secret secret;
  Uuid blob_uuid;
  le64 size;
  le64 middle;
  le64 created_ns;
  le32 segment_blocks;
  le32 segment_count;
  le32 erase_bytes;
  le16 blob;
  unsigned char kind;
  unsigned char reserved0;
  NameFormat pool_name;
  NameFormat blob_name;
  std::array<unsigned char, 3832> reserved1;
  le64 checksum;
};
static_assert(is_block_format<SuperblockFormat>);
static_assert(offsetof(SuperblockFormat, version) == 8);
static_assert(offsetof(SuperblockFormat, tier) == 12);
static_assert(offsetof(SuperblockFormat, compat) == 16);
static_assert(offsetof(SuperblockFormat, ro_compat) == 24);
static_assert(offsetof(SuperblockFormat, incompat) == 32);
static_assert(offsetof(SuperblockFormat, pool) == 40);
static_assert(offsetof(SuperblockFormat, secret) == 56);
static_assert(offsetof(SuperblockFormat, blob_uuid) == 72);
static_assert(offsetof(SuperblockFormat, size) == 88);
static_assert(offsetof(SuperblockFormat, middle) == 96);
static_assert(offsetof(SuperblockFormat, created_ns) == 104);
static_assert(offsetof(SuperblockFormat, segment_blocks) == 112);
static_assert(offsetof(SuperblockFormat, segment_count) == 116);
static_assert(offsetof(SuperblockFormat, erase_bytes) == 120);
static_assert(offsetof(SuperblockFormat, blob) == 124);
static_assert(offsetof(SuperblockFormat, kind) == 126);
static_assert(offsetof(SuperblockFormat, reserved0) == 127);
static_assert(offsetof(SuperblockFormat, pool_name) == 128);
static_assert(offsetof(SuperblockFormat, blob_name) == 192);
static_assert(offsetof(SuperblockFormat, reserved1) == 256);
static_assert(offsetof(SuperblockFormat, checksum) == block_checksum_offset);

}  // namespace lamina
