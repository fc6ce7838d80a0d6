// SPDX-License-Identifier: Apache-2.0
// A log mark as it lies on the medium. See FORMAT.md.
#pragma once

#include <cstddef>

#include "blobs/block_format.h"

namespace lamina {

inline constexpr Magic log_mark_magic = {'L', 'A', 'M', 'I', 'N', 'A', 'L', 'M'};

struct LogMarkFormat {
  Magic magic;
  le32 version;
  le32 epoch;
  le64 durable_through;
  le64 wall_ns;
  le32 disk_block;
  le16 blob;
  le16 entries;
  le16 entry_bytes;
  le64 first;
  std::array<unsigned char, 4038> packed;
  le64 checksum;
};
static_assert(is_block_format<LogMarkFormat>);
static_assert(offsetof(LogMarkFormat, version) == 8);
static_assert(offsetof(LogMarkFormat, epoch) == 12);
static_assert(offsetof(LogMarkFormat, durable_through) == 16);
static_assert(offsetof(LogMarkFormat, wall_ns) == 24);
static_assert(offsetof(LogMarkFormat, disk_block) == 32);
static_assert(offsetof(LogMarkFormat, blob) == 36);
static_assert(offsetof(LogMarkFormat, entries) == 38);
static_assert(offsetof(LogMarkFormat, entry_bytes) == 40);
static_assert(offsetof(LogMarkFormat, first) == 42);
static_assert(offsetof(LogMarkFormat, packed) == 50);
static_assert(offsetof(LogMarkFormat, checksum) == block_checksum_offset);

}  // namespace lamina
