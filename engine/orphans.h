// SPDX-License-Identifier: Apache-2.0
// Segments that are free by the checkpoint that a recovery began with, but were taken and written
// to since, by nodes, moved data or log that came to nothing: their headers tell by a generation
// that the checkpoint had not given out. Thread-safety: functions over what the disks hold.
#pragma once

#include <vector>

#include "base/task.h"
#include "blobs/record.h"
#include "blobs/segment.h"
#include "engine/pool_state.h"

namespace lamina {

// The headers that segments of the blob have of this pool, in the order of `indexes`; what has
// none, or cannot be read, is passed over.
Task<std::vector<SegmentHeader>> read_headers(Blob& blob, Uuid pool, std::vector<uint32_t> indexes);

struct Orphan {
  SegmentName name;
  SegmentClass kind;
};

// `known`: the first generation that the checkpoint had not given out. `end`: the last entry that
// roll-forward reached, `next`: the segments where it then looked in vain.
// Error corrupt: the first record of one of these, or of an orphan of the log, knows that more was
// durable (A2): a part of the log is damaged, and it never ended there. What is no record of that
// generation says nothing, nor does what cannot be read.
Task<Result<std::vector<Orphan>>> find_orphans(PoolState& pool, Generation known, Sequence end,
                                               SegmentChain next);

}  // namespace lamina
