// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <utility>

#include "base/buffer.h"
#include "base/checksum.h"
#include "blobs/record.h"
#include "engine/log/records.h"
#include "engine/lost_header.h"
#include "engine/rebuild_scanner.h"

namespace lamina {

// What its summary or its header lacks its records say as well; then it is sealed again. Where a
// record is gone that the summary tells of, the summary stays what it is.
Task<Result<>> Scanner::log_segment(size_t index) {
  ScannedSegment& segment = out_.segments[index];
  const bool told = segment.told;
  if (told && segment.bad_arrays.empty() && !segment.header_lost) {
    auto first = first_record(index);
    co_return co_await first;
  }
  ++out_.from_records;
  segment.by_records = true;
  if (!visit_) {
    asked_.push_back(index);
    co_return Result<>{};
  }
  auto asking = records(index, !told);
  co_return co_await asking;
}

// Once all headers are known, since one segment's records tell of another's.
Task<Result<>> Scanner::ask_records() {
  do {
    for (const size_t index : std::exchange(asked_, {})) {
      auto finding = find_behind(index);
      LAMINA_CO_TRY(co_await finding);
      auto asking = records(index, !out_.segments[index].told);
      LAMINA_CO_TRY(co_await asking);
    }
    auto searching = find_by_name();
    LAMINA_CO_TRY(co_await searching);
  } while (!asked_.empty());
  co_return Result<>{};
}

// Of the log, that the tables have in use, or that it was to use next.
std::vector<SegmentName> Scanner::known_names() const {
  std::vector<SegmentName> names;
  for (const Segment& row : out_.tables.segments)
    if (row.kind == SegmentClass::log && row.use != SegmentUse::retired && row.dead_in == 0)
      names.push_back(row.name);
  for (const auto& [generation, name] : out_.named) names.push_back(name);
  return names;
}

// Those that have lost their header, their first record and their summary, in a place where nothing
// newer is. What was there before may have been taken for it, by its summary.
Task<Result<>> Scanner::find_by_name() {
  std::map<std::pair<BlobId, uint32_t>, Generation> there;
  for (const ScannedSegment& segment : out_.segments)
    there[{segment.header.blob, segment.header.index}] = segment.header.generation;
  for (const SegmentName& name : out_.stamped) there[{name.blob, name.index}] = name.generation;
  for (const SegmentName& name : known_names()) {
    const auto blob =
        std::ranges::find_if(out_.blobs, [&](const Blob* one) { return one->id() == name.blob; });
    const auto before = there.find({name.blob, name.index});
    const bool taken = before != there.end() && before->second >= name.generation;
    if (taken || blob == out_.blobs.end() || name.index >= (*blob)->segment_count() ||
        !searched_.insert(name.generation).second)
      continue;
    auto telling = header_from_records(**blob, name);
    Result<SegmentHeader> header = co_await telling;
    if (!header && header.error().code == Code::not_found) continue;
    if (!header) co_return forward_error(header);
    std::erase_if(out_.headerless, [&](const SegmentName& one) {
      return one.blob == name.blob && one.index == name.index;
    });
    if (before != there.end()) forget(before->second);
    out_.epoch = std::max(out_.epoch, header->epoch);
    note_generation(header->generation);
    auto found_task = found(**blob, *header, true);
    LAMINA_CO_TRY(co_await found_task);
    there[{name.blob, name.index}] = name.generation;
  }
  co_return Result<>{};
}

// A newer segment is in its place.
void Scanner::forget(Generation generation) {
  const auto is_it = [&](const SegmentName& name) { return name.generation == generation; };
  std::erase_if(out_.stamped, is_it);
  std::erase_if(out_.untold, is_it);
  const auto found = out_.by_generation.find(generation);
  if (found == out_.by_generation.end()) return;
  const size_t index = found->second;
  out_.by_generation.erase(found);
  out_.segments.erase(out_.segments.begin() + static_cast<ptrdiff_t>(index));
  std::erase_if(out_.entries, [&](const ScannedEntry& one) { return one.segment == index; });
  for (auto& [other, at] : out_.by_generation) at -= at > index;
  for (ScannedEntry& one : out_.entries) one.segment -= one.segment > index;
  std::erase(asked_, index);
  for (size_t& at : asked_) at -= at > index;
}

void Scanner::note_header(const RecordHeader& header) {
  if (header.starts_epoch && header.epoch > 0)
    out_.cuts.push_back({header.epoch - 1, header.cut_sequence});
  out_.durable = std::max(out_.durable, header.durable_through);
  out_.committed = std::max(out_.committed, header.newest_checkpoint);
  out_.checkpoint = std::max(out_.checkpoint, header.newest_checkpoint);
  for (const SegmentName& name : header.next) {
    note_generation(name.generation);
    if (name.generation != Generation::none) out_.named.emplace(name.generation, name);
  }
}

Task<Result<std::optional<RecordHeader>>> Scanner::first_record_of(const ScannedSegment& segment) {
  const SegmentHeader& header = segment.header;
  auto reading =
      read_first_record(*segment.blob, {header.blob, header.index, header.generation});
  auto record = co_await reading;
  if (record && *record && (*record)->epoch != header.epoch) co_return std::nullopt;
  co_return record;
}

// An epoch begins in a segment of its own, and the first header says where the one before was cut,
// which no summary does.
Task<Result<>> Scanner::first_record(size_t index) {
  auto reading = first_record_of(out_.segments[index]);
  auto record = co_await reading;
  if (!record) co_return forward_error(record);
  if (*record) note_header(**record);
  co_return Result<>{};
}

// The log's segments have growing generations.
Task<Result<>> Scanner::find_behind(size_t index) {
  const Generation generation = out_.segments[index].header.generation;
  for (auto at = out_.by_generation.upper_bound(generation); at != out_.by_generation.end(); ++at) {
    const ScannedSegment& after = out_.segments[at->second];
    if (after.header.kind != SegmentClass::log) continue;
    auto reading = first_record_of(after);
    auto record = co_await reading;
    if (!record) co_return forward_error(record);
    out_.segments[index].behind = std::move(*record);
    break;
  }
  co_return Result<>{};
}

// All that the records say; of a header that is gone, what the next one repeats (B1). `entries`:
// there is no summary; else it stays, if it says more than they do.
Task<Result<>> Scanner::records(size_t index, bool entries) {
  const SegmentHeader header = out_.segments[index].header;
  auto loading =
      load_segment(*out_.segments[index].blob, {header.blob, header.index, header.generation});
  auto loaded = co_await loading;
  if (!loaded) co_return forward_error(loaded);
  TailSegment& tail = **loaded;
  RecordGap gap;
  const auto counts = [&](const RecordHeader& found) {
    if (found.epoch != header.epoch) return false;
    const bool follows = found.at.block == tail.next_block;
    if (!follows && gap.last == 0) gap = {tail.next_block, found.body.first - 1};
    note_header(found);
    const bool is_there = record_at(tail, header.secret, found.at.block).has_value();
    Sequence& lost = out_.segments[index].lost;
    if (lost == 0 && !(follows && is_there)) lost = found.body.first - (follows ? 0 : 1);
    ScannedRecord record{header.epoch, found.body.first, found.last(), is_there};
    for (uint32_t i = 0; i < found.payload_blocks(); ++i) {
      const uint32_t block = found.at.block + 1 + i;
      if (block >= header.blocks) break;
      record.whole =
          record.whole && payload_checksum(tail.memory.blocks(block, 1)) == found.body.checksums[i];
      if (out_.segments[index].summed[block]) continue;
      out_.segments[index].sums[block] = found.body.checksums[i];
      out_.segments[index].summed[block] = true;
    }
    out_.records.push_back(record);
    return true;
  };
  const auto& behind = out_.segments[index].behind;
  note_records(tail, header.secret, header.blocks, counts, true, behind ? &*behind : nullptr);
  if (entries) out_.segments[index].gap = gap;
  out_.segments[index].records_end = tail.next_block;
  if (!entries && (gap.last != 0 || tail.next_block < header.used_end))
    out_.segments[index].by_records = false;
  // A segment is sealed when all of it is durable: what its header says was there has been lost.
  const bool sealed = header.state == SegmentState::sealed && !out_.segments[index].header_lost;
  if (entries && sealed && tail.next_block < header.used_end)
    out_.untold.push_back({header.blob, header.index, header.generation});
  if (entries)
    for (const Entry& entry : tail.entries) take(entry, index);
  co_return Result<>{};
}

// Also of segments that were sealed before all of them was durable.
Task<Result<>> Scanner::newest_records() {
  std::set<size_t> sealed;
  for (const ScannedEntry& scanned : out_.entries) {
    const ScannedSegment& segment = out_.segments[scanned.segment];
    if (segment.header.kind == SegmentClass::log && scanned.entry.sequence > out_.durable &&
        !segment.by_records)
      sealed.insert(scanned.segment);
  }
  for (const size_t index : sealed) {
    out_.segments[index].by_records = true;
    auto task = records(index, false);
    LAMINA_CO_TRY(co_await task);
  }
  co_return Result<>{};
}

// A crash takes what was not durable, in any order; other gaps are damage.
void Scanner::find_torn() {
  std::map<Generation, uint32_t> used;  // at the cut
  for (const Segment& row : out_.tables.segments) used[row.name.generation] = row.used_blocks;
  for (const ScannedSegment& segment : out_.segments) {
    const auto row = used.find(segment.header.generation);
    const bool in_tables = row != used.end() && segment.gap.block < row->second;
    if (segment.gap.last != 0 && (in_tables || segment.gap.last <= out_.durable))
      out_.torn.push_back(
          {segment.header.blob, segment.header.index, segment.header.generation});
  }
}

}  // namespace lamina
