// SPDX-License-Identifier: Apache-2.0
#include "engine/repair/unproven.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "base/buffer.h"
#include "engine/rebuild_read.h"

namespace lamina {
namespace {

// Published by a checkpoint before the newest, as its tables say.
bool is_proven(const Segment& row, const Tables& tables) {
  return row.settled != 0 && row.settled < tables.cut;
}

std::set<Generation> proven(const Tables& tables) {
  std::set<Generation> out;
  for (const Segment& row : tables.segments)
    if (is_proven(row, tables)) out.insert(row.name.generation);
  return out;
}

class Unproven {
 public:
  explicit Unproven(Scan& scan) : scan_(scan), proven_(proven(scan.tables)) {
    for (size_t i = 0; i < scan.entries.size(); ++i) {
      const ScannedEntry& one = scan.entries[i];
      if (one.entry.length.value == 0) continue;
      by_segment_[one.segment].push_back(i);
      by_map_[raw(one.entry.map)].push_back(i);
    }
  }

  Task<Result<>> run() {
    for (size_t i = 0; i < scan_.segments.size(); ++i) {
      if (is_proven(i)) continue;
      auto reading = payload_is_good(i);
      const bool good = co_await reading;
      scan_.segments[i].unproven = !good && stated_elsewhere(i);
    }
    std::erase_if(scan_.entries, [this](const ScannedEntry& one) {
      return one.segment != ScannedEntry::nowhere && scan_.segments[one.segment].unproven;
    });
    co_return Result<>{};
  }

 private:
  bool is_proven(size_t segment) const {
    const SegmentHeader& header = scan_.segments[segment].header;
    return !is_moved(header.kind) || proven_.contains(header.generation);
  }

  Task<bool> payload_is_good(size_t segment) {
    const SegmentHeader& header = scan_.segments[segment].header;
    if (header.state != SegmentState::sealed) co_return false;  // it was never finished
    Buffer block(block_size);
    for (const size_t i : by_segment_[segment]) {
      const Entry& entry = scan_.entries[i].entry;
      if (entry.kind != EntryKind::write) continue;
      for (uint64_t at = 0; at < entry.length.value; ++at) {
        const Address address{header.generation, entry.offset};
        auto reading = read_payload(scan_, address + BlockCount{at}, block.span());
        const Result<> read = co_await reading;
        if (!read) co_return false;
      }
    }
    co_return true;
  }

  // C1: where neighbours were merged under the larger number, each has its own elsewhere.
  bool stated_elsewhere(size_t segment) {
    return std::ranges::all_of(by_segment_[segment], [&](size_t i) {
      const Entry& entry = scan_.entries[i].entry;
      std::vector<BlockRange> found;
      bool same = false;
      for (const size_t other : by_map_[raw(entry.map)]) {
        const ScannedEntry& one = scan_.entries[other];
        const BlockRange range{one.entry.begin, one.entry.begin + one.entry.length};
        if (one.segment == segment || one.entry.sequence > entry.sequence ||
            range.end <= entry.begin || entry.begin + entry.length <= range.begin)
          continue;
        same = same || one.entry.sequence == entry.sequence;
        found.push_back(range);
      }
      return same && covers(std::move(found), {entry.begin, entry.begin + entry.length});
    });
  }

  static bool covers(std::vector<BlockRange> ranges, BlockRange wanted) {
    std::ranges::sort(ranges, {}, &BlockRange::begin);
    for (const BlockRange& range : ranges)
      if (range.begin <= wanted.begin) wanted.begin = std::max(wanted.begin, range.end);
    return wanted.begin >= wanted.end;
  }

  Scan& scan_;
  const std::set<Generation> proven_;
  std::unordered_map<size_t, std::vector<size_t>> by_segment_;
  std::unordered_map<uint64_t, std::vector<size_t>> by_map_;
};

// What the newest tables know to be in use, and is gone: neither freed, which they would say, nor
// used again, which a newer generation in its place would.
std::vector<SegmentName> vanished(const Scan& scan) {
  using Place = std::pair<BlobId, uint32_t>;
  std::map<Place, Generation> newest;
  const auto note = [&](const SegmentName& name) {
    Generation& there = newest[{name.blob, name.index}];
    there = std::max(there, name.generation);
  };
  for (const ScannedSegment& segment : scan.segments)
    note({segment.header.blob, segment.header.index, segment.header.generation});
  for (const SegmentName& name : scan.stamped) note(name);
  std::vector<SegmentName> out;
  const auto is_there = [&](const SegmentName& name) {
    const auto there = newest.find({name.blob, name.index});
    return there != newest.end() && there->second >= name.generation;
  };
  for (const Segment& row : scan.tables.segments) {
    // Open and used is where the log went on from the cut.
    const bool used = (row.is_filled() && !row.is_kept_away()) ||
                      (row.use == SegmentUse::open && row.used_blocks > 0);
    if (!used || !is_published(row, scan.tables) || row.dead_in != 0) continue;
    if (!is_there(row.name)) out.push_back(row.name);
  }
  return out;
}

// Of the log, told by records alone, which end before the tables know them to.
std::vector<SegmentName> cut_short(const Scan& scan) {
  std::vector<SegmentName> out;
  for (const Segment& row : scan.tables.segments) {
    const auto at = scan.by_generation.find(row.name.generation);
    if (row.use == SegmentUse::retired || at == scan.by_generation.end()) continue;
    const ScannedSegment& segment = scan.segments[at->second];
    const SegmentHeader& header = segment.header;
    const bool log = header.kind == SegmentClass::log;
    const bool known_end = header.state == SegmentState::sealed && !segment.header_lost;
    if (log && !known_end && !segment.told && segment.records_end < row.used_blocks)
      out.push_back(row.name);
  }
  return out;
}

}  // namespace

bool is_published(const Segment& row, const Tables& tables) {
  return row.holds_data() && (row.kind == SegmentClass::log || is_proven(row, tables));
}

Task<Result<>> drop_unproven(Scan& scan) {
  Unproven unproven(scan);
  auto running = unproven.run();
  co_return co_await running;
}

std::vector<SegmentName> untold(const Scan& scan) {
  const std::set<Generation> known = proven(scan.tables);
  std::vector<SegmentName> out = vanished(scan);
  for (const SegmentName& name : cut_short(scan)) out.push_back(name);
  for (const SegmentName& name : scan.untold) {
    const auto at = scan.by_generation.find(name.generation);
    // Of the log that it is sealed is proof: all of it was durable.
    const bool log = at != scan.by_generation.end() &&
                     scan.segments[at->second].header.kind == SegmentClass::log;
    if (log || known.contains(name.generation)) out.push_back(name);
  }
  return out;
}

}  // namespace lamina
