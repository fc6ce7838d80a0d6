// SPDX-License-Identifier: Apache-2.0
// Records of a sealed log segment that are gone, without one left that repeats them, as the
// segment's summary and checksums tell of them (B4). A segment is sealed when all of it is durable
// (`Log::maybe_seal`), so what is told was durable.
// Thread-safety: a pure function.
#pragma once

#include <cstdint>
#include <optional>

#include "blobs/record.h"
#include "engine/log/tail.h"

namespace lamina {

struct Gap {
  Epoch epoch = 0;
  uint32_t block = 0;           // where it begins: the first header that is gone
  Sequence first = 0;           // the entry that this is to begin with; 0: the segment's first
  uint32_t until = UINT32_MAX;  // at the latest it ends before this block,
  Sequence last = UINT64_MAX;   // with this entry
};

// All that lay in the gap, as one record: its entries, numbered densely, and the checksums of all
// blocks of the gap but the first; 0 where there was a header. Of what a header says besides it
// says nothing but `wall_ns`: of the next record, or else of the seal; 0: not known.
struct BridgedGap {
  RecordHeader record;
  uint32_t behind = 0;     // the first block that does not belong to it
  bool to_the_end = true;  // no record of its epoch follows in the segment
};

// The gap up to the next record of its epoch, or to where it ends at the latest. `segment`: as it
// lies on the medium. Nothing: the summary or the checksums cannot be read or do not tell of all of
// it, or nothing is missing.
std::optional<BridgedGap> bridge_gap(const TailSegment& segment, const Secret& secret, Gap gap);

}  // namespace lamina
