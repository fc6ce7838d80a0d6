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

// How many entries of the log, since the tables that were found and up to `end`, are nowhere.
uint64_t missing_entries(const Scan& scan, Sequence end);

}  // namespace lamina
