// SPDX-License-Identifier: Apache-2.0
// What the segments of a pool say of themselves, read from the medium alone: every entry of every
// record and summary, every checkpoint's tables, every cut. Nothing of the maps is looked at, and
// no slot but for its cuts. The first half of a rebuild; repair begins the same way.
// Thread-safety: one coroutine. Reads only.
// A blob that is missing is passed over. Errors: io of a disk ends the scan; what does not decode
// is skipped and counted.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/task.h"
#include "blobs/blob.h"
#include "blobs/record.h"
#include "blobs/segment.h"
#include "engine/tables.h"

namespace lamina {

// Records of a segment that are gone, with nothing left that repeats them.
struct RecordGap {
  uint32_t block = 0;  // where they begin
  Sequence last = 0;   // their last number; 0: none are
};

// A segment that is in use: its header was good, of this pool and place, and not stamped.
struct ScannedSegment {
  Blob* blob = nullptr;
  SegmentHeader header;
  std::vector<uint32_t> sums;  // of its blocks, by block; where known
  std::vector<bool> summed;    // which are
  bool by_records = false;     // of the log: its records were asked, and say all that it holds
  bool header_lost = false;    // `header` is what the rest of it says
  bool told = false;           // every entry of it is known
  bool unproven = false;       // it does not count (engine/repair/unproven.h)
  uint32_t records_end = 0;    // of the log, where its records were asked: behind the last one,
  RecordGap gap;               // before that, the first one
  Sequence lost = 0;           // and the first number of one that was gone before that
  // Likewise: the first record of the segment that followed in the log, which repeats its last.
  std::optional<RecordHeader> behind;
  // Its summary is whole, the copies of its array are not that begin in these blocks; made again,
  // if `summed` says so.
  std::set<uint32_t> bad_arrays;
};

struct ScannedEntry {
  // No segment states it: the mark outside the log repeats it, or a tree had it (engine/repair).
  static constexpr size_t nowhere = SIZE_MAX;

  Entry entry;
  Epoch epoch = 0;     // of what it lies in
  size_t segment = 0;  // in Scan::segments, or nowhere
};

// A record of a segment that has no good summary, or may be past what is durable.
struct ScannedRecord {
  Epoch epoch = 0;
  Sequence first = 0, last = 0;  // of its entries
  bool whole = false;  // its header is there, not only repeated, and its payload matches that
};

struct Scan {
  std::vector<Blob*> blobs;  // that were scanned
  std::vector<ScannedSegment> segments;
  std::map<Generation, size_t> by_generation;  // in `segments`
  std::vector<ScannedEntry> entries;           // void ones are gone (A3)
  Tables tables;                               // the newest whole ones that are not void
  bool has_tables = false;
  std::vector<EpochCut> cuts;  // everything known
  std::vector<ScannedRecord> records;
  // What the newest of all that was found says, and everything past which is new.
  Epoch epoch = 0;
  Sequence durable = 0;                            // every entry up to here was (A2)
  bool marked = false;  // so says a mark outside of the log, of the newest epoch (B5)
  CheckpointNumber checkpoint = 0, committed = 0;  // that was begun; that is named as true
  uint32_t next_generation = 1;
  uint64_t void_entries = 0, damaged_summaries = 0, from_records = 0;
  // Of segments whose contents could not be told: no summary could be read, nor records.
  std::vector<SegmentName> untold;
  // Segments of the log whose records are told but for some between others.
  std::vector<SegmentName> torn;
  std::vector<SegmentName> stamped;
  // What the log was to use next, as its records say, and, as the newest slot says that is of these
  // tables, whether nothing followed them.
  std::map<Generation, SegmentName> named;
  bool clean = false;
  std::set<std::pair<BlobId, uint32_t>> blank;  // places that begin with zeroes
  // Where something lies that may be a segment; no generation is known.
  std::vector<SegmentName> headerless;

  // Of the segment that states the entry; none: nothing does.
  Generation generation_of(const ScannedEntry& scanned) const {
    if (scanned.segment == ScannedEntry::nowhere) return Generation::none;
    return segments[scanned.segment].header.generation;
  }
  // Whether it is as the log had it: what is moved may be merged with its neighbours.
  bool is_of_log(const ScannedEntry& scanned) const {
    return scanned.segment == ScannedEntry::nowhere ||
           segments[scanned.segment].header.kind == SegmentClass::log;
  }
};

// Whether an entry of that epoch and number is void: some cut of it, or of a later epoch, lies
// before it.
bool is_void(const std::vector<EpochCut>& cuts, Epoch epoch, Sequence sequence);

// The order in which entries are laid over each other: by number, and of the copies of one entry
// the one to be believed last: in a segment that was finished, and there the newest.
bool before(const Scan& scan, const ScannedEntry& a, const ScannedEntry& b);

Task<Result<Scan>> scan_segments(std::vector<Blob*> blobs);

// What a scan may come to believe, for who cannot keep all of it and wants the entries alone:
// segment after segment, all that are in use by their headers, and those that would be if their
// stamps were lost. More than a scan finds, never less: cuts are not known, so what they make void
// is told too; and where records are newer than what is durable, the summary is taken.
struct VisitedSegment {
  SegmentName name;
  SegmentClass kind = SegmentClass::log;
  bool told = false;         // all of its entries are known,
  uint32_t records_end = 0;  // or, if not 0, those of its records up to this block
  std::vector<ScannedEntry> entries;
};
// An error of `each` ends it with that. Error io: something could not be read.
Task<Result<>> visit_segments(std::vector<Blob*> blobs,
                              std::function<Result<>(const VisitedSegment&)> each);

}  // namespace lamina
