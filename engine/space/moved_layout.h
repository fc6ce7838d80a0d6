// SPDX-License-Identifier: Apache-2.0
// How much of a segment of class moved holds payload: what the mover can count on, and so what
// users can ever store.
// Thread-safety: pure functions.
#pragma once

#include <algorithm>
#include <cstdint>

#include "blobs/segment.h"
#include "blobs/summary.h"
#include "blobs/summary_format.h"

namespace lamina {

// Of summary, kept for each block: an entry of one block, with any number below 2^42, in one of 2^21
// maps, on a device of 128 TiB.
inline constexpr size_t moved_entry_bytes_a_block = 18;

// Blocks kept for the front summary, and for the back one (B4).
inline uint32_t moved_summary_blocks(uint32_t segment_blocks) {
  return summary_blocks(size_t{segment_blocks} * moved_entry_bytes_a_block);
}

inline uint32_t moved_payload_blocks(uint32_t segment_blocks) {
  const uint32_t summary = moved_summary_blocks(segment_blocks);
  return segment_blocks - payload_begin(SegmentClass::moved, segment_blocks, summary) - summary;
}

// A segment that is begun for facts, which have no payload, keeps more of it for them: a quarter at
// each end, but no more than memory should hold of entries (E7, D6): some 19,000.
inline constexpr uint32_t most_facts_summary_blocks = 83;
inline uint32_t facts_summary_blocks(uint32_t segment_blocks) {
  return std::max(moved_summary_blocks(segment_blocks),
                  std::min(segment_blocks / 4, most_facts_summary_blocks));
}

// Entries that summaries of so many blocks have room for at least.
inline uint32_t summary_entries(uint32_t summary) {
  const size_t bytes = sizeof(SummaryFormat::room) + size_t{summary - 1} * block_size;
  return static_cast<uint32_t>(bytes / moved_entry_bytes_a_block);
}

}  // namespace lamina
