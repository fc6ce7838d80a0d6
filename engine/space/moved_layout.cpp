// SPDX-License-Identifier: Apache-2.0
#include "engine/space/moved_layout.h"

#include <algorithm>

#include "blobs/entry.h"
#include "blobs/frame.h"
#include "blobs/segment.h"
#include "blobs/summary.h"
#include "blobs/summary_format.h"
#include "engine/pool.h"

namespace lamina {
namespace {

constexpr uint64_t fact_bytes = 18;  // of a summary; an alias counts as two
constexpr uint32_t most_facts_summary = 83;

// In a summary of frames there is room for an entry for each block if they get so much smaller;
// where they get smaller still, and all blocks are strangers to each other, it is full first.
constexpr uint64_t usual_ratio = 2;

uint32_t in_frames(uint32_t blocks) {
  const uint64_t bytes = uint64_t{blocks} * block_size;
  return static_cast<uint32_t>(bytes / largest_frame(frame_blocks) * frame_blocks);
}

uint64_t bytes_of(uint32_t summary) {
  return sizeof(SummaryFormat::room) + uint64_t{summary - 1} * block_size;
}

}  // namespace

size_t moved_entry_bytes(MapId newest, Sequence last, uint32_t address_blocks) {
  Entry entry;
  entry.kind = EntryKind::write;
  entry.sequence = last;
  entry.map = newest;
  entry.begin = DeviceBlock{max_device_bytes / block_size - 1};
  entry.length = BlockCount{1};
  entry.offset = address_blocks - 1;
  return packed_entry_size(entry, 0);
}

MovedLayout::MovedLayout(uint32_t segment_blocks, size_t entry_bytes, SegmentClass kind)
    : segment_blocks_(segment_blocks), entry_bytes_(entry_bytes) {
  const bool frames = kind == SegmentClass::frames;
  do {
    ++summary_;
    payload_ = segment_blocks - payload_begin(kind, segment_blocks, summary_) - summary_ -
               second_array_blocks(kind, segment_blocks);
    if (frames) payload_ = in_frames(payload_);
  } while (bytes_of(summary_) < payload_ * entry_bytes * (frames ? usual_ratio : 1));
}

uint32_t MovedLayout::facts_summary() const {
  return std::max(summary_, std::min(segment_blocks_ / 4, most_facts_summary));
}

uint64_t MovedLayout::facts_beside(uint64_t data_blocks) const {
  const uint64_t bytes = bytes_of(summary_), taken = data_blocks * entry_bytes_;
  return (bytes - std::min(bytes, taken)) / fact_bytes;
}

uint64_t MovedLayout::facts_alone() const {
  return bytes_of(facts_summary()) / fact_bytes;
}

}  // namespace lamina
