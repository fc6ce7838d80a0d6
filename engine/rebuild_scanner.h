// SPDX-License-Identifier: Apache-2.0
// Behind rebuild_scan.h: what goes through the segments, in two halves. rebuild_scan.cpp reads headers,
// summaries, tables and fixed places, blob by blob; rebuild_records.cpp then asks the log's records,
// of which one segment's tell of another's.
// Thread-safety: one coroutine. Ownership: `out`, and all blobs, outlive it.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "blobs/log_mark.h"
#include "blobs/summary.h"
#include "engine/rebuild_scan.h"

namespace lamina {

// The pages of one stream of tables, as far as they were found.
struct TablesStream {
  Epoch epoch = 0;
  Sequence cut = 0;
  uint32_t count = 0;
  std::map<uint32_t, std::vector<std::byte>> pages;
};

class Scanner {
 public:
  using Visit = std::function<Result<>(const VisitedSegment&)>;

  explicit Scanner(Scan& out, Visit visit = {}) : out_(out), visit_(std::move(visit)) {}

  // In this order.
  Task<Result<>> blob(Blob& blob);  // each
  void choose_tables();
  Task<Result<>> ask_records();
  Task<Result<>> newest_records();
  void finish();

 private:
  Task<Result<>> slots(Blob& blob);
  Task<Result<>> read(ScannedSegment& segment, uint32_t block, std::span<std::byte> into);
  Task<Result<>> found(Blob& blob, SegmentHeader header, bool lost);
  Task<Result<>> segment(size_t index);
  Task<Result<bool>> summary(size_t index, bool back);
  Task<Result<>> sums(ScannedSegment& segment, const Summary& summary);
  void complete_header(size_t index);
  void take_repeated();
  Task<Result<>> tables_pages(ScannedSegment& segment);
  Task<Result<>> visit_remains(Blob& blob, SegmentHeader header);
  Result<> visit_newest();

  // --- rebuild_records.cpp
  Task<Result<>> log_segment(size_t index);
  Task<Result<>> records(size_t index, bool entries);
  void note_header(const RecordHeader& header);
  Task<Result<std::optional<RecordHeader>>> first_record_of(const ScannedSegment& segment);
  Task<Result<>> first_record(size_t index);
  Task<Result<>> find_behind(size_t index);
  std::vector<SegmentName> known_names() const;
  Task<Result<>> find_by_name();
  void forget(Generation generation);
  void find_torn();

  void take(const Entry& entry, size_t segment) {
    out_.entries.push_back({entry, out_.segments[segment].header.epoch, segment});
  }
  void note_generation(Generation generation) {
    out_.next_generation = std::max(out_.next_generation, raw(generation) + 1);
  }
  const Slot* newest_slot() const { return newest_slot_ ? &*newest_slot_ : nullptr; }
  static MetadataPlace place(const ScannedSegment& segment, uint32_t block) {
    return {segment.header.blob, segment.header.index, segment.header.generation, block};
  }

  Scan& out_;
  const Visit visit_;  // if any, nothing is kept
  std::map<CheckpointNumber, TablesStream> streams_;
  std::optional<Slot> newest_slot_;
  std::vector<LogMark> marks_;
  std::vector<size_t> asked_;      // segments of the log whose records are to tell
  std::set<Generation> searched_;  // for records, by name
};

}  // namespace lamina
