// SPDX-License-Identifier: Apache-2.0
// A segment: the unit a blob is allocated, filled, sealed, emptied and discarded in. Its header
// names it, carries the pool's identity and secret under a plain checksum, and says its class.
//
//   block 0           header: written at open, at seal (not of nodes), and once more by the stamp
//   [1, 1+S)          checksums, a plain array of le32, one a block of the segment: S blocks; where
//                     frames lie, their index (frame.h)
//   [1+S, 1+S+F)      front summary, for classes without record headers (B4)
//   [payload, ...)    records, nodes, moved data or frames, filled front to back, written once
//   [..., N-B)        of moved data: the checksums once more, where the summaries say (B4)
//   [N-B, N)          back summary, its last block at N-1
//
// Thread-safety: plain values.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/checksum.h"
#include "base/result.h"
#include "base/units.h"

namespace lamina {

using Uuid = std::array<std::byte, 16>;

// `frames`: moved data that is compressed.
enum class SegmentClass : uint8_t { log = 1, nodes = 2, moved = 3, headers = 4, frames = 5 };
// Written by the mover.
constexpr bool is_moved(SegmentClass kind) {
  return kind == SegmentClass::moved || kind == SegmentClass::frames;
}
enum class SegmentState : uint8_t { open = 1, sealed = 2, retired = 3 };

struct SegmentHeader {
  Uuid pool{};
  Secret secret{};
  BlobId blob = BlobId::none;
  uint32_t index = 0;  // of the segment in its blob
  Generation generation = Generation::none;
  SegmentClass kind = SegmentClass::log;
  SegmentState state = SegmentState::open;
  Epoch epoch = 0;            // in which it was opened (A3)
  uint32_t blocks = 0;        // N
  uint32_t front_blocks = 0;  // F
  uint32_t used_end = 0;      // sealed: first block after the payload; else 0
  uint32_t addressed = 0;     // sealed, of frames: how many blocks are in them; else 0
  uint64_t wall_ns = 0;       // when this header was written
  friend bool operator==(const SegmentHeader&, const SegmentHeader&) = default;
};

// Both in one block. unpack checks magic, version, checksum, state, class and that the sizes fit
// each other, pack asserts the same; whether it is the segment that is looked for is the caller's
// to say. Errors: corrupt; unsupported, a newer format.
void pack_segment_header(const SegmentHeader& header, std::span<std::byte> block);
Result<SegmentHeader> unpack_segment_header(std::span<const std::byte> block);

// Blocks of the array behind the header of a segment of that class: checksums, one block per 1024
// blocks, none where nodes or headers lie, which carry their own; or the index of its frames.
uint32_t array_blocks(SegmentClass kind, uint32_t segment_blocks);
// Blocks of its second copy, in front of the back summary: of moved data, of which nothing else
// tells. The log's checksums are in its records too, and frames say themselves where they are.
uint32_t second_array_blocks(SegmentClass kind, uint32_t segment_blocks);
// First block that records, nodes, moved data or frames may use.
uint32_t payload_begin(SegmentClass kind, uint32_t segment_blocks, uint32_t front_blocks);

}  // namespace lamina
