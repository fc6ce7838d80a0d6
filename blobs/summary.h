// SPDX-License-Identifier: Apache-2.0
// The table of a sealed segment that says what every block in it is. Together the summaries are a
// complete second description of the pool.
// A summary is a run of blocks: a header, then packed entries. The back copy ends at the last
// block of the segment, and its *last* block begins with the header, so that it is found from the
// segment's size alone; the front copy begins with its header at a fixed place.
// Thread-safety: plain values.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/checksum.h"
#include "base/result.h"
#include "blobs/entry.h"

namespace lamina {

struct Summary {
  Epoch epoch = 0;                     // in which it was sealed
  Sequence smallest = 0, largest = 0;  // of the entries; 0 where there are none
  uint64_t checksums_sum = 0;          // plain checksum of the segment's checksum blocks
  uint32_t second_array = 0;           // where their second copy begins; 0: there is none
  std::vector<Entry> entries;          // in the order of `offset`, those without payload anywhere
  friend bool operator==(const Summary&, const Summary&) = default;
};

// Where the copies of the array that the summary vouches for begin in its segment (B4).
std::vector<uint32_t> array_places(const Summary& summary);

// Blocks that a summary with `entry_bytes` of packed entries takes.
uint32_t summary_blocks(size_t entry_bytes);

// Fills `blocks` (at least summary_blocks() of them; more are zeroed and count as part of the run).
// Asserts that every entry's number lies in [smallest, largest]. `back` chooses the order: the
// header in the last block instead of the first. `place.block` is the first block of the run.
void pack_summary(const Summary& summary, const Secret& secret, const MetadataPlace& place,
                  bool back, std::span<std::byte> blocks);

// How many blocks the back summary has, from the segment's last block alone (which is enough to
// know where to read the rest). Error corrupt: that block begins no summary of this segment.
// `place.block` is that last block.
Result<uint32_t> back_summary_blocks(std::span<const std::byte> last_block, const Secret& secret,
                                     const MetadataPlace& place);
// The same for the first block of a front summary.
Result<uint32_t> front_summary_blocks(std::span<const std::byte> first_block, const Secret& secret,
                                      const MetadataPlace& place);

Result<Summary> unpack_summary(std::span<const std::byte> blocks, const Secret& secret,
                               const MetadataPlace& place, bool back);

// What the header block of a summary says by itself, without looking at a checksum: for people to
// look at, never to be believed.
struct SummaryHead {
  MetadataPlace place;
  bool back = false;
  uint32_t blocks = 0;
  uint32_t entry_count = 0;
  Summary summary;  // with those entries that lie in this block
};
Result<SummaryHead> decode_summary_head(std::span<const std::byte> block);

}  // namespace lamina
