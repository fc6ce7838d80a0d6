// SPDX-License-Identifier: Apache-2.0
// How much of a segment of class moved holds payload: what the mover can count on, and so what
// users can ever store.
// Thread-safety: pure functions, plain values.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/units.h"
#include "blobs/segment.h"

namespace lamina {

// The most that an entry of one block takes in a summary, and so what a block takes of longer ones:
// of a map up to that one, with a number up to that, in segments of so many addresses.
size_t moved_entry_bytes(MapId newest, Sequence last, uint32_t address_blocks);

class MovedLayout {
 public:
  // What a pool of any age can count on: any number below 2^42, in one of 2^21 maps, on a device of
  // 128 TiB.
  static constexpr size_t most_entry_bytes = 18;
  // Of frames: where nothing gets smaller.
  explicit MovedLayout(uint32_t segment_blocks, size_t entry_bytes = most_entry_bytes,
                       SegmentClass kind = SegmentClass::moved);

  // Blocks kept for the front summary, and for the back one (B4): as few as hold an entry a block.
  uint32_t summary() const { return summary_; }
  uint32_t payload() const { return payload_; }  // blocks
  // A segment that is begun for facts, which have no payload, keeps more of it for them: a quarter
  // at each end, but no more than memory should hold of entries (E7, D6): some 19,000.
  uint32_t facts_summary() const;

  // Facts that a segment has room for: beside so many blocks of data, or alone.
  uint64_t facts_beside(uint64_t data_blocks) const;
  uint64_t facts_alone() const;

 private:
  uint32_t segment_blocks_;
  size_t entry_bytes_;
  uint32_t summary_ = 0, payload_ = 0;
};

}  // namespace lamina
