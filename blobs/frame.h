// SPDX-License-Identifier: Apache-2.0
// Frames: how a compression blob keeps payload. Up to 32 neighbouring blocks are compressed by zstd
// into one frame, or stored as they are where that gains nothing, and frames are packed one behind
// the other, with no regard to blocks of the disk. So a block's address there is virtual: frame
// `address / 32`, the block `address % 32` of it. Where each frame lies says the frame index, an
// array at a fixed place in the segment; a frame says itself whose it is and how long, under a
// keyed checksum (B4, B7), and has the checksums of its blocks, which are of what was written, not
// of what is stored.
// A frame's place is its segment's, with its number there for the block.
// Thread-safety: pure functions, plain values; a FrameCodec is one thread's.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "base/checksum.h"
#include "base/result.h"
#include "base/units.h"

namespace lamina {

inline constexpr uint32_t frame_blocks = 32;
// Virtual blocks of a segment for each of its own: a segment is full when either kind is used up.
inline constexpr uint32_t virtual_ratio = 8;
// Frames lie at multiples of this; the index counts in it.
inline constexpr uint32_t frame_grain = 8;

// What a frame takes that does not get smaller, and so at most, bytes.
size_t largest_frame(uint32_t blocks);
// Blocks of the frame index: one word for each frame that there can be, and one for the end.
uint32_t frame_index_blocks(uint32_t segment_blocks);

// A frame that is decoded: its blocks, and which of them are what their checksums say.
struct Frame {
  Buffer data;
  std::vector<uint32_t> checksums;
  std::array<bool, frame_blocks> good{};
  uint32_t blocks() const { return static_cast<uint32_t>(checksums.size()); }
};

// Holds what zstd works with, so that frames in a row are cheap.
class FrameCodec {
 public:
  explicit FrameCodec(int level = 3);  // of zstd, 1..19
  FrameCodec(FrameCodec&&) noexcept;
  ~FrameCodec();

  // A frame, padded to whole grains. `data` is whole blocks, as many as `checksums`, 1 to 32. Its
  // header is not stamped yet, since nobody knows where it will lie.
  std::vector<std::byte> encode(std::span<const std::byte> data,
                                std::span<const uint32_t> checksums);
  // Error corrupt: it is no frame of that place, or does not decompress.
  Result<Frame> decode(std::span<const std::byte> bytes, const Secret& secret,
                       const MetadataPlace& place);

 private:
  struct Contexts;
  std::unique_ptr<Contexts> contexts_;
  int level_;
};

// Says in the frame's header where it lies.
void stamp_frame(std::span<std::byte> frame, const Secret& secret, const MetadataPlace& place);
// Bytes of the frame that begins here, for who knows no index. Error corrupt: none does.
Result<size_t> frame_length(std::span<const std::byte> bytes, const Secret& secret,
                            const MetadataPlace& place);

}  // namespace lamina
