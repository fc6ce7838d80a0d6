// SPDX-License-Identifier: Apache-2.0
// Sealing a log segment: its checksums, its summary and its header, each in the place that was
// kept for it. Used when a segment is full, and by recovery for those that a crash left open:
// the same blocks whoever writes them, so doing it twice is harmless.
#pragma once

#include "base/task.h"
#include "blobs/summary.h"
#include "engine/counters.h"
#include "engine/log/tail.h"

namespace lamina {

struct PoolIdentity;
class Blob;

// `segment.memory` needs to hold nothing but is written to at those places. Not flushed.
Task<Result<>> seal_log_segment(const PoolIdentity& identity, Blob& blob, TailSegment& segment,
                                uint64_t wall_ns, Counters& counters);

// Of a log segment. Numbers are dense: what is lacking was in records that whoever sealed it had lost.
bool lacks_entries(const Summary& summary);

// Hands the segment's checksums to the cache, page by page.
void put_sums(Sums& sums, const TailSegment& segment);

// As they lie behind a segment's header: `blocks`, which hold more, ends in zeroes.
void store_sums(const std::vector<uint32_t>& sums, std::span<std::byte> blocks);

}  // namespace lamina
