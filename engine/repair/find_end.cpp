// SPDX-License-Identifier: Apache-2.0
#include "engine/repair/find_end.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/buffer.h"

namespace lamina {

Sequence find_end(Scan& scan) {
  std::vector<const ScannedRecord*> records;
  for (const ScannedRecord& record : scan.records)
    if (record.last > scan.durable && !is_void(scan.cuts, record.epoch, record.first))
      records.push_back(&record);
  std::ranges::sort(records, {}, &ScannedRecord::first);
  Sequence end = scan.durable;
  for (const ScannedRecord* record : records) {
    if (record->last <= end) continue;
    if (record->first > end + 1 || !record->whole) break;
    end = record->last;
  }
  scan.cuts.push_back({scan.epoch, end});
  const size_t before = scan.entries.size();
  std::erase_if(scan.entries, [end](const ScannedEntry& s) { return s.entry.sequence > end; });
  scan.void_entries += before - scan.entries.size();
  return end;
}

MissingEntries missing_entries(const Scan& scan, Sequence end) {
  const Sequence cut = scan.tables.cut;
  std::set<Sequence> there;
  for (const ScannedEntry& s : scan.entries)
    if (s.entry.sequence > cut && scan.is_of_log(s)) there.insert(s.entry.sequence);
  MissingEntries missing{end - cut - there.size(), 0};
  if (missing.count == 0) return missing;
  missing.last = end;
  for (auto at = there.rbegin(); at != there.rend() && *at == missing.last; ++at) --missing.last;
  return missing;
}

namespace {

class Behind {
 public:
  Behind(const Scan& scan, const std::vector<SegmentName>& untold) : scan_(scan) {
    for (const SegmentName& name : untold) destroyed_.emplace(name.blob, name.index);
    for (const SegmentName& name : scan.headerless) noise_.emplace(name.blob, name.index);
    for (const Segment& row : scan.tables.segments) {
      const Place place{row.name.blob, row.name.index};
      if (row.use == SegmentUse::sealed && row.dead_in == 0 && !row.is_kept_away() &&
          scan.blank.contains(place))
        destroyed_.insert(place);
    }
  }

  Task<bool> run() {
    if (scan_.clean) co_return false;
    Generation newest = Generation::none;
    for (const ScannedEntry& scanned : scan_.entries)
      if (scan_.is_of_log(scanned)) newest = std::max(newest, scan_.generation_of(scanned));
    for (const ScannedSegment& segment : scan_.segments) {
      const SegmentHeader& header = segment.header;
      if (scan_.marked || header.kind != SegmentClass::log || header.generation < newest) continue;
      // A crash takes what was not durable, in any order.
      const bool damaged = segment.lost != 0 && segment.lost <= scan_.durable;
      if (destroyed_.empty() && !damaged) continue;
      auto looking = is_written_behind(segment);
      const bool written = co_await looking;
      if (written) co_return true;
    }
    if (destroyed_.empty()) co_return false;
    std::map<Generation, SegmentName> next = scan_.named;
    for (const Segment& row : scan_.tables.segments)
      if (row.kind == SegmentClass::log && row.use == SegmentUse::open)
        next.emplace(row.name.generation, row.name);
    for (const auto& [generation, name] : next) {
      if (generation <= newest || scan_.by_generation.contains(generation)) continue;
      auto looking = may_be_written(name);
      const bool written = co_await looking;
      if (written) co_return true;
    }
    co_return false;
  }

 private:
  using Place = std::pair<BlobId, uint32_t>;

  Task<bool> may_be_written(SegmentName name) {
    const auto at =
        std::ranges::find(scan_.blobs, name.blob, [](const Blob* b) { return b->id(); });
    if (at == scan_.blobs.end()) co_return true;  // its disk is gone
    Blob& blob = **at;
    if (name.index >= blob.segment_count()) co_return false;
    const Place place{name.blob, name.index};
    if (noise_.contains(place)) co_return true;
    if (!scan_.blank.contains(place)) co_return false;  // a header, of what was there before
    if (beside_destroyed(name, -1) || beside_destroyed(name, 1)) co_return true;
    Buffer all(blob.segment_bytes());
    auto reading = blob.read_segment(name.index, all.span());
    const Result<> read = co_await reading;
    co_return !read || !all_zero(all.span());
  }

  // What of it no record tells.
  static Task<bool> is_written_behind(const ScannedSegment& segment) {
    const SegmentHeader& header = segment.header;
    const bool sealed = header.state == SegmentState::sealed && !segment.header_lost;
    if (sealed || segment.told || !segment.by_records) co_return false;  // where it ends is known
    Buffer all(segment.blob->segment_bytes());
    auto reading = segment.blob->read_segment(header.index, all.span());
    const Result<> read = co_await reading;
    co_return !read ||
        !all_zero(all.blocks(segment.records_end, header.blocks - segment.records_end));
  }

  bool beside_destroyed(const SegmentName& name, int64_t step) const {
    for (int64_t index = name.index + step; index >= 0; index += step) {
      const Place place{name.blob, static_cast<uint32_t>(index)};
      if (destroyed_.contains(place)) return true;
      if (!scan_.blank.contains(place)) return false;
    }
    return false;
  }

  const Scan& scan_;
  std::set<Place> destroyed_, noise_;
};

}  // namespace

Task<bool> may_have_gone_on(const Scan& scan, const std::vector<SegmentName>& untold) {
  Behind behind(scan, untold);
  auto looking = behind.run();
  co_return co_await looking;
}

}  // namespace lamina
