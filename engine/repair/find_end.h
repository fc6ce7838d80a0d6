// SPDX-License-Identifier: Apache-2.0
// Where the log ended of a pool whose slots are gone.
// Thread-safety: pure functions.
#pragma once

#include "engine/rebuild_scan.h"

namespace lamina {

// As a recovery would say (A2): what is known to have been durable, and then, record by record,
// what follows densely and whose payload matches. Entries past it leave the scan, and
// `scan.cuts` says so from then on.
Sequence find_end(Scan& scan);

// Entries of the log, since the tables that were found and up to `end`, that are nowhere.
struct MissingEntries {
  uint64_t count = 0;
  Sequence last = 0;  // the newest of them
};
MissingEntries missing_entries(const Scan& scan, Sequence end);

// Whether what is destroyed may be of the log behind its end, of which nothing is left then: there is
// something behind the last record of its last segment, and no mark says how far it was durable; or a
// place that it was to use next holds something else than it held before, or begins with zeroes as do
// destroyed ones beside it. Only asked where something is destroyed: an end is one, else (A2).
// `untold`: segments whose contents are gone.
Task<bool> may_have_gone_on(const Scan& scan, const std::vector<SegmentName>& untold);

}  // namespace lamina
