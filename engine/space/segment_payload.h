// SPDX-License-Identifier: Apache-2.0
// How the payload of one segment is put together in memory while the mover fills it: block by block
// at the address that it will have, or compressed. The mover knows addresses, and how many blocks
// are certain to fit, and no more of it.
// Thread-safety: one coroutine. Ownership: not of the memory, which outlives it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/buffer.h"
#include "base/checksum.h"
#include "base/task.h"
#include "base/workers.h"
#include "blobs/blob.h"
#include "blobs/segment.h"

namespace lamina {

class SegmentPayload {
 public:
  struct Options {
    Secret secret{};
    Workers* workers = nullptr;  // what is compressed by; null: by who awaits it
    int level = 3;               // of zstd
  };
  // For segments of that blob.
  static std::unique_ptr<SegmentPayload> make(const Blob& blob, const Options& options);
  virtual ~SegmentPayload() = default;

  // Begins a segment in `memory`, all of it, whose payload begins at that block.
  virtual void open(const MetadataPlace& place, Buffer& memory, uint32_t begin) = 0;
  // Whether all that was put is certain to end before that block of the segment.
  virtual bool fits(uint32_t end) const = 0;
  // Blocks more that are certain to fit before it, and may be put before go_on() or settle().
  virtual uint32_t room(uint32_t end) const = 0;
  // Whether go_on() can bring more room.
  virtual bool under_way() const = 0;
  // Afterwards there may be more room, though something of what was put is still being compressed:
  // meanwhile more can be put. Waits only where enough is being compressed, or nothing was put.
  virtual Task<void> go_on() = 0;
  // All that was put is in its place. Awaited before it ends, whatever becomes of the segment.
  virtual Task<void> settle() = 0;
  virtual uint32_t next_address() const = 0;
  // Takes blocks in, no more than there is room for; the checksums are theirs.
  virtual void put(std::span<const std::byte> data, std::span<const uint32_t> checksums) = 0;
  // Where payload is compressed: takes in a frame of so many blocks as it is, stamped anew, if it
  // is certain to end before that block of the segment. Its blocks are at last_frame() then, and
  // on.
  virtual bool put_frame(std::span<const std::byte> frame, uint32_t blocks, uint32_t end) = 0;
  virtual uint32_t last_frame() const = 0;
  // Whether addresses say nothing of places, so that all of it may be moved up before it is closed.
  virtual bool movable() const = 0;
  virtual void move_up(uint32_t blocks) = 0;
  // Writes the array behind the segment's header; nothing is put any more. After settle().
  virtual void close() = 0;
  // The first block behind the payload; after settle().
  virtual uint32_t used_end() const = 0;
  virtual uint32_t addressed() const = 0;  // as SegmentHeader says it
};

}  // namespace lamina
