// SPDX-License-Identifier: Apache-2.0
// What a segment is whose header is gone, as the rest of it says: each record and each summary names
// its segment, under a checksum that says that it is in its place.
// Thread-safety: any number at a time. Reads only.
// Errors: io of the disk; not_found, nothing says so.
#pragma once

#include <cstdint>

#include "base/task.h"
#include "blobs/blob.h"
#include "blobs/segment.h"
#include "blobs/slot.h"

namespace lamina {

// By a record at the place of the first, or a summary at the end. A segment of nodes has its header
// alone to say so; but `newest`, the newest slot, if any, names those that its tables went into, and
// nobody can have used them for anything since.
Task<Result<SegmentHeader>> header_from_contents(const Blob& blob, uint32_t index,
                                                 const Slot* newest);

// Of a segment of the log that is known by that name, by any record of it.
Task<Result<SegmentHeader>> header_from_records(const Blob& blob, SegmentName name);

}  // namespace lamina
