// SPDX-License-Identifier: Apache-2.0
// Whether a segment of the log lies behind what roll-forward could reach although what it could not
// reach was durable: then a part of the log is damaged, and where roll-forward stopped is no end
// that the log ever had (A2).
// Thread-safety: pure function.
#pragma once

#include "base/task.h"
#include "blobs/blob.h"
#include "blobs/record.h"

namespace lamina {

// `end`: the last entry that was reached. Error corrupt: the segment's first record knows that more
// was durable. What is no record of that generation says nothing; nor does what cannot be read.
Task<Result<>> check_unreached(const Blob& blob, SegmentName name, Secret secret, Sequence end);

}  // namespace lamina
