// SPDX-License-Identifier: Apache-2.0
// What a segment says of itself, and what of that is good: for those who write anew what is not, and
// for those who only say so.
// Thread-safety: any number at a time.
#pragma once

#include "base/buffer.h"
#include "base/task.h"
#include "blobs/segment.h"
#include "engine/space/read_summary.h"

namespace lamina {

class PoolState;

// Of a sealed segment of data.
struct SegmentParts {
  bool header = false, array = false;
  SegmentHeader says;  // the header, where it is good
  Result<SummaryCopy> back = fail(Code::corrupt), front = fail(Code::corrupt);
  Buffer bytes;  // header and array as they lie there
  bool good(SegmentClass kind) const {
    return header && array && back && (kind == SegmentClass::log || front);
  }
};
Task<Result<SegmentParts>> look_at_segment(PoolState& pool, Segment row);

// Whether the header is good, and this segment's: what a scan finds nodes and tables by (B3).
Task<bool> header_names(PoolState& pool, SegmentName name);

}  // namespace lamina
