// SPDX-License-Identifier: Apache-2.0
// Reads all payload of a segment and compares it with its checksums; of frames with the one of what
// is stored, without decompressing them. What does not match is read a second time: it is the
// medium that is asked, not the way to it (B6). Of a segment of the log that is still being filled
// it is what the newest checkpoint made durable, though users are served that from memory.
// Thread-safety: one coroutine each. Memory: MovePace::window(), or 128 frames.
#pragma once

#include <vector>

#include "base/result.h"
#include "base/task.h"
#include "engine/space/move_pace.h"
#include "engine/space/moved_parts.h"
#include "engine/space/space.h"

namespace lamina {

class PoolState;

struct VerifiedSegment {
  uint64_t bytes = 0;                 // of payload that were compared
  std::vector<MovedParts::Part> bad;  // blocks, or those of whole frames; by place
};
// Whether there is something to be compared.
bool is_written(const Segment& segment);
// Where neither summary nor records can be read, all of it is bad; where some records alone cannot,
// what they may have told of. Error not_found: the segment is
// gone, or about to be: nothing that was found of it is of interest.
Task<Result<VerifiedSegment>> verify_segment(PoolState& pool, Generation generation,
                                             MovePace& pace);

}  // namespace lamina
