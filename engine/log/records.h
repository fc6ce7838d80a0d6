// SPDX-License-Identifier: Apache-2.0
// What the records of a log segment say of it, for whoever has its blocks in memory.
// Thread-safety: pure functions on what they are given.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/task.h"
#include "blobs/blob.h"
#include "blobs/record.h"
#include "engine/log/tail.h"

namespace lamina {

// A segment of the log as it lies on the medium, nothing noted yet. Error io.
Task<Result<std::shared_ptr<TailSegment>>> load_segment(const Blob& blob, SegmentName name);

// The first record of a segment of the log; nothing, where none is there. Error io.
Task<Result<std::optional<RecordHeader>>> read_first_record(const Blob& blob, SegmentName name);

// The record whose header is in that block. Error corrupt: there is none, or it is longer than its
// segment.
Result<UnpackedRecord> record_at(const TailSegment& segment, const Secret& secret, uint32_t block);

// The first one at that block or behind it.
std::optional<UnpackedRecord> next_record(const TailSegment& segment, const Secret& secret,
                                          uint32_t from);

// Adds what one record says of a segment to the checksums and entries kept for its summary.
void note_record(TailSegment& segment, const RecordHeader& header);

// Notes the records from `segment.next_block` to block `until` for which `counts`, up to the first
// for which not. A header that is gone is taken from the record behind it (B1); where that is gone
// as well, it ends, or, `past_gaps`, goes on with the next record there is, which repeats the one
// before it: numbers are missing between then, and where the segment's first ones are, `first` is
// one of them. `behind`, if known: the first record of the segment that follows in the log, which
// repeats the last one of this. The result is how many headers were gone, or gaps.
uint32_t note_records(TailSegment& segment, const Secret& secret, uint32_t until,
                      const std::function<bool(const RecordHeader&)>& counts,
                      bool past_gaps = false, const RecordHeader* behind = nullptr);

}  // namespace lamina
