// SPDX-License-Identifier: Apache-2.0
// What a segment says of itself, and what of that is good: for those who write anew what is not,
// and for those who only say so.
// Thread-safety: any number at a time.
#pragma once

#include <algorithm>
#include <vector>

#include "base/buffer.h"
#include "base/task.h"
#include "blobs/segment.h"
#include "engine/space/read_summary.h"

namespace lamina {

class PoolState;

// A copy of the array of a segment, as it lies there.
struct ArrayCopy {
  uint32_t block = 1;  // where it begins
  bool good = false;   // it is what the summary vouches for
  Buffer bytes;
};

// Of a sealed segment of data.
struct SegmentParts {
  bool header = false;
  SegmentHeader says;  // the header, where it is good
  Result<SummaryCopy> back = fail(Code::corrupt), front = fail(Code::corrupt);
  // As many as a summary says; without any, the one behind the header, of which nobody can tell.
  std::vector<ArrayCopy> arrays;
  const SummaryCopy* any() const { return back ? &*back : front ? &*front : nullptr; }
  bool arrays_good() const { return std::ranges::all_of(arrays, &ArrayCopy::good); }
  bool good(SegmentClass kind) const {
    return header && arrays_good() && back && (kind == SegmentClass::log || front);
  }
};
Task<Result<SegmentParts>> look_at_segment(PoolState& pool, Segment row);

// Whether the header is good, and this segment's: what a scan finds nodes and tables by (B3).
Task<bool> header_names(PoolState& pool, SegmentName name);

}  // namespace lamina
