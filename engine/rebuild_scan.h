// SPDX-License-Identifier: Apache-2.0
// What the segments of a pool say of themselves, read from the medium alone: every entry of every
// record and summary, every checkpoint's tables, every cut. Nothing of the maps is looked at, and
// no slot but for its cuts. The first half of a rebuild; repair begins the same way.
// Thread-safety: one coroutine. Reads only.
// Errors: io of a disk ends the scan; what does not decode is skipped and counted.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/task.h"
#include "blobs/blob.h"
#include "blobs/segment.h"
#include "engine/tables.h"

namespace lamina {

// A segment that is in use: its header was good, of this pool and place, and not stamped.
struct ScannedSegment {
  Blob* blob = nullptr;
  SegmentHeader header;
  std::vector<uint32_t> sums;  // of its blocks, by block; where known
  std::vector<bool> summed;    // which are
};

struct ScannedEntry {
  Entry entry;
  Epoch epoch = 0;     // of the segment that it lies in
  size_t segment = 0;  // in Scan::segments
};

struct Scan {
  std::vector<ScannedSegment> segments;
  std::map<Generation, size_t> by_generation;  // in `segments`
  std::vector<ScannedEntry> entries;           // void ones are gone (A3)
  Tables tables;                               // the newest whole ones that are not void
  bool has_tables = false;
  std::vector<EpochCut> cuts;  // everything known
  uint64_t void_entries = 0, damaged_summaries = 0, stamped_segments = 0, from_records = 0;
};

// Whether an entry of that epoch and number is void: some cut of it, or of a later epoch, lies
// before it.
bool is_void(const std::vector<EpochCut>& cuts, Epoch epoch, Sequence sequence);

Task<Result<Scan>> scan_segments(std::vector<Blob*> blobs);

}  // namespace lamina
