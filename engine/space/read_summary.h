// SPDX-License-Identifier: Apache-2.0
// What a sealed segment says of itself, read from the medium: its summary, from the one end or the
// other, and its checksums. What is bad or missing of a log segment its records say as well (B4),
// so a damaged summary costs nothing, nor does a disk that could not take it any more.
// Thread-safety: any number at a time. Errors: not_found, corrupt (also: it is not sealed yet), io.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/buffer.h"
#include "base/task.h"
#include "blobs/summary.h"
#include "engine/log/tail.h"
#include "engine/space/space.h"

namespace lamina {

class PoolState;

Task<Result<Summary>> read_summary(PoolState& pool, Generation generation);

// The copy at that end, and how many blocks it has. Of the log there is the one at the back alone.
struct SummaryCopy {
  Summary summary;
  uint32_t blocks = 0;
};
Task<Result<SummaryCopy>> read_summary_copy(PoolState& pool, const Segment& row, bool back);

// A segment of the log by its records alone, those that are not void. Error corrupt: there are
// none, or some are missing (B2).
Task<Result<std::shared_ptr<TailSegment>>> read_by_records(PoolState& pool, Segment row);

// The array of a sealed segment of moved data, compressed or not, of which a block is damaged, as
// its copies and its payload have it together, if the summary vouches for that.
Task<Result<Buffer>> read_array_again(PoolState& pool, const Segment& row, const Summary& summary);

struct Contents {
  Summary summary;
  bool whole = true;  // else of the log, and entries are missing that were in records that are gone
  std::vector<uint32_t> sums;  // one a block of the segment; of frames: none
};
Task<Result<Contents>> read_contents(PoolState& pool, Generation generation);

// What else tells of the checksums of a segment, as the array lies there: the records of one of the
// log, the other copy or the payload of one that was moved, if the summary vouches for it.
Task<Result<Buffer>> read_sums_again(PoolState& pool, Generation generation);

}  // namespace lamina
