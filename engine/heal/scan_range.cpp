// SPDX-License-Identifier: Apache-2.0
#include "engine/heal/scan_range.h"

#include <algorithm>
#include <limits>
#include <string>
#include <unordered_map>

#include "engine/log/records.h"
#include "engine/log/seal.h"
#include "engine/pool_state.h"
#include "engine/repair/replay.h"
#include "engine/space/read_summary.h"

namespace lamina {
namespace {

constexpr size_t most_entries = size_t{1} << 23;  // some 2 GiB, with what is made of them

// Whether the image may refer to what lies in it.
bool may_refer_to(const Segment& row, const Image& image) {
  if (!row.holds_data() || row.use == SegmentUse::retired || row.use == SegmentUse::free)
    return false;
  if (row.dead_in != 0 && row.dead_in <= image.number) return false;
  return row.kind == SegmentClass::log || (row.settled != 0 && row.settled <= image.cut);
}

// Its entries, in whichever way they can be had.
Task<Result<std::vector<Entry>>> read_entries(PoolState& pool, const Segment& row, Epoch& epoch) {
  if (row.use != SegmentUse::open) {
    auto summary = co_await read_summary(pool, row.name.generation);
    if (summary && row.kind == SegmentClass::log && lacks_entries(*summary))
      co_return fail(Code::corrupt, "entries of a log segment are missing");
    if (summary) {
      epoch = summary->epoch;
      co_return std::move(summary->entries);
    }
    if (row.kind != SegmentClass::log) co_return forward_error(summary);
  }
  auto segment = co_await read_by_records(pool, row);
  // Of the log there are segments that were named and never written.
  if (!segment && row.use == SegmentUse::open && segment.error().code == Code::corrupt)
    co_return std::vector<Entry>();
  if (!segment) co_return forward_error(segment);
  epoch = (*segment)->epoch;
  co_return std::move((*segment)->entries);
}

}  // namespace

Task<Result<Scan>> scan_range(PoolState& pool, ImagePtr image, MapId map, BlockRange range) {
  Scan scan;
  {
    Lock order(pool.log.order());
    scan.cuts = pool.epochs;
  }
  std::unordered_map<MapId, Sequence> limits;
  for (const Sight& sight : sights(image->lineage, map))
    limits[sight.map] = std::min(sight.limit, image->cut);
  for (const Segment& row : pool.space.segments()) {
    if (!may_refer_to(row, *image)) continue;
    ScannedSegment segment;
    segment.header.generation = row.name.generation;
    segment.header.kind = row.kind;
    segment.header.state = SegmentState::sealed;
    Epoch epoch = 0;
    Task<Result<std::vector<Entry>>> reading = read_entries(pool, row, epoch);
    Result<std::vector<Entry>> entries = co_await reading;
    if (!entries) {
      const auto now = pool.space.segment(row.name.generation);
      if (!now || !may_refer_to(*now, *image)) continue;
      if (entries.error().code == Code::io) co_return forward_error(entries);
      // It may have held something newer than all that is found (B2).
      co_return fail(Code::corrupt,
                     "nobody can tell what a segment holds: " + entries.error().message);
    }
    const size_t index = scan.segments.size();
    scan.by_generation[row.name.generation] = index;
    scan.segments.push_back(std::move(segment));
    for (Entry& entry : *entries) {
      const auto limit = limits.find(entry.map);
      if (!states_a_range(entry) || limit == limits.end() || entry.sequence > limit->second)
        continue;
      const BlockRange said{entry.begin, entry.begin + entry.length};
      if (said.end <= range.begin || range.end <= said.begin) continue;
      if (is_void(scan.cuts, epoch, entry.sequence)) continue;
      if (scan.entries.size() == most_entries)
        co_return fail(Code::corrupt,
                       "too much is said of its range to be asked while the pool "
                       "is open; `lamina repair` does");
      scan.entries.push_back({std::move(entry), epoch, index});
    }
  }
  std::stable_sort(scan.entries.begin(), scan.entries.end(),
                   [](const ScannedEntry& a, const ScannedEntry& b) {
                     return a.entry.sequence < b.entry.sequence;
                   });
  co_return scan;
}

uint64_t stored_blocks(std::span<const Extent> extents) {
  uint64_t blocks = 0;
  for (const Extent& extent : extents)
    if (extent.stored()) blocks += extent.length().value;
  return blocks;
}

Result<> expect_blocks(const NodeEntry& entry, uint64_t found) {
  const bool known = entry.mapped_blocks != std::numeric_limits<uint32_t>::max();
  if (!known || entry.mapped_blocks == found) return {};
  return fail(Code::corrupt, "it had " + std::to_string(entry.mapped_blocks) + " blocks, but " +
                                 std::to_string(found) + " are found");
}

Result<> share_again(PoolState& pool, std::span<const Extent> extents) {
  Lock order(pool.log.order());
  const Sequence now = pool.log.last();
  for (const Extent& extent : extents) {
    const bool alive =
        (!extent.stored() || pool.space.share_if_alive(extent.address.generation, now)) &&
        (extent.home == Generation::none || pool.space.share_if_alive(extent.home, now));
    if (!alive) return fail(Code::corrupt, "a segment that it needs is gone");
  }
  return {};
}

}  // namespace lamina
