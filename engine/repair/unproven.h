// SPDX-License-Identifier: Apache-2.0
// What the mover had made for a checkpoint that may never have come true.
// Thread-safety: one coroutine. Reads only.
#pragma once

#include "engine/rebuild_scan.h"

namespace lamina {

// Without slots nobody knows whether the newest tables that were found were those of a checkpoint:
// what was moved for it, or for the one after it, may have reached its disk in part, while what it
// was moved from is still there. Such a segment leaves the scan's entries, if some of its payload
// is bad and all that it states is stated elsewhere. Error io.
Task<Result<>> drop_unproven(Scan& scan);

// Whether a segment of these tables holds data that is no such thing.
bool is_published(const Segment& row, const Tables& tables);

// The segments that nobody can tell the contents of, or that are gone though the tables know them in
// use, and that are not of that kind: something may have been in them that is nowhere else (B2).
std::vector<SegmentName> untold(const Scan& scan);

}  // namespace lamina
