// SPDX-License-Identifier: Apache-2.0
// The part of a check that looks at one sealed segment: its summaries at both ends, the checksums
// or the frame index that they vouch for, and in the log the header of every record. Thread-safety:
// on the thread of a UringLoop.
#pragma once

#include <cstdint>

#include "base/task.h"
#include "blobs/blob.h"
#include "blobs/segment.h"
#include "tools/check.h"

namespace lamina {

// `header`: of that segment, as it was read. Its seal was flushed.
Task<void> check_sealed(Blob& blob, uint32_t index, SegmentHeader header, CheckReport& report);

}  // namespace lamina
