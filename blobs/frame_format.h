// SPDX-License-Identifier: Apache-2.0
// A frame's header as it lies on the medium: then a checksum of each block, then what is stored of
// them, then zeroes up to a whole grain. See FORMAT.md.
#pragma once

#include <array>
#include <cstddef>
#include <type_traits>

#include "base/endian.h"

namespace lamina {

inline constexpr std::array<char, 4> frame_magic = {'L', 'F', 'R', 'M'};

enum class FrameMethod : uint8_t { stored = 0, zstd = 1 };

struct FrameFormat {
  std::array<char, 4> magic;
  le32 frame;  // its number in the segment
  le32 bytes;  // stored, without header and checksums
  unsigned char blocks;
  unsigned char method;
  le16 reserved;
  le64 stored_checksum;  // plain, of what is stored
  le64 checksum;         // keyed, of the fields above and the blocks' checksums
};
static_assert(sizeof(FrameFormat) == 32);
static_assert(std::has_unique_object_representations_v<FrameFormat>);
static_assert(offsetof(FrameFormat, frame) == 4);
static_assert(offsetof(FrameFormat, bytes) == 8);
static_assert(offsetof(FrameFormat, blocks) == 12);
static_assert(offsetof(FrameFormat, method) == 13);
static_assert(offsetof(FrameFormat, reserved) == 14);
static_assert(offsetof(FrameFormat, stored_checksum) == 16);
static_assert(offsetof(FrameFormat, checksum) == 24);

}  // namespace lamina
