// SPDX-License-Identifier: Apache-2.0
// Frames: how a compression blob keeps payload. Up to 16 neighbouring blocks are compressed by zstd
// into one frame, or stored as they are where that gains nothing, and frames are packed one behind
// the other, with no regard to blocks of the disk. So a block's address there is virtual: frame
// `address / 16`, the block `address % 16` of it. Where each frame lies says the frame index, an
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

// A block that is wanted costs the reading and the decompressing of its whole frame, so a small one
// is read faster; a large one takes less room: of programs and libraries 64 KiB take 2 % more than
// 128 KiB, and are read by single blocks twice as fast.
inline constexpr uint32_t frame_blocks = 16;
// Virtual blocks of a segment for each of its own: a segment is full when either kind is used up.
inline constexpr uint32_t virtual_ratio = 8;
// Frames lie at multiples of this; the index counts in it.
inline constexpr uint32_t frame_grain = 8;

// What a frame takes that does not get smaller, and so at most, bytes.
size_t largest_frame(uint32_t blocks);
// Where the addresses of a segment of so many blocks end. The last frame that there could be never
// is, so that the index has a word that says where the one before it ends.
constexpr uint32_t addresses_end(uint32_t segment_blocks) {
  return segment_blocks * virtual_ratio - frame_blocks;
}
// Blocks of the frame index: a word for each frame that there can be, and one for the end.
uint32_t frame_index_blocks(uint32_t segment_blocks);

// A frame that lies where it says that it does. Its bytes are the caller's.
class PackedFrame {
 public:
  uint32_t blocks() const { return blocks_; }
  // Of its blocks, before they were compressed.
  std::span<const uint32_t> checksums() const { return std::span(checksums_).first(blocks_); }
  bool is_compressed() const { return compressed_; }
  std::span<const std::byte> stored() const { return stored_; }

 private:
  friend Result<PackedFrame> open_frame(std::span<const std::byte> bytes, const Secret& secret,
                                        const MetadataPlace& place);
  std::span<const std::byte> stored_;
  std::array<uint32_t, frame_blocks> checksums_{};
  uint32_t blocks_ = 0;
  bool compressed_ = false;
};
// Error corrupt: it is no frame of that place, or cut short.
Result<PackedFrame> open_frame(std::span<const std::byte> bytes, const Secret& secret,
                               const MetadataPlace& place);

// The same, and error corrupt where what it stores is not what was written: may be carried to
// another place as it is, where it is stamped anew.
Result<PackedFrame> whole_frame(std::span<const std::byte> bytes, const Secret& secret,
                                const MetadataPlace& place);

// A frame that is decoded: its blocks, and what their checksums are to be.
struct Frame {
  Buffer data;
  std::vector<uint32_t> checksums;
  uint32_t blocks() const { return static_cast<uint32_t>(checksums.size()); }
  // Whether that block matches. Computed when it is asked for: most blocks of a frame never are.
  bool good(uint32_t block) const;
};

// Holds what zstd works with, so that frames in a row are cheap.
class FrameCodec {
 public:
  explicit FrameCodec(int level = 3);  // of zstd, 1..19
  FrameCodec(FrameCodec&&) noexcept;
  ~FrameCodec();

  // A frame, padded to whole grains. `data` is whole blocks, as many as `checksums`, 1 to 16. Its
  // header is not stamped yet, since nobody knows where it will lie.
  std::vector<std::byte> encode(std::span<const std::byte> data,
                                std::span<const uint32_t> checksums);
  // All of its blocks to `into`, which is as large. Error corrupt: it does not decompress.
  Result<> unpack(const PackedFrame& frame, std::span<std::byte> into);
  Result<Frame> decode(const PackedFrame& frame);
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
