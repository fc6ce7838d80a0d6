// SPDX-License-Identifier: Apache-2.0
#include "engine/log/bridge.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/endian.h"
#include "blobs/segment.h"
#include "blobs/summary.h"
#include "engine/log/records.h"

namespace lamina {
namespace {

uint32_t blocks_of(const TailSegment& segment) {
  return static_cast<uint32_t>(segment.memory.size() / block_size);
}

// Only if the checksums are those that it vouches for.
std::optional<Summary> summary_of(const TailSegment& segment, const Secret& secret) {
  const uint32_t blocks = blocks_of(segment);
  MetadataPlace place{segment.name.blob, segment.name.index, segment.name.generation, blocks - 1};
  const auto count = back_summary_blocks(segment.memory.blocks(blocks - 1, 1), secret, place);
  if (!count) return std::nullopt;
  place.block = blocks - *count;
  auto summary = unpack_summary(segment.memory.blocks(place.block, *count), secret, place, true);
  const uint32_t array = array_blocks(SegmentClass::log, blocks);
  if (!summary || plain_checksum(segment.memory.blocks(1, array)) != summary->checksums_sum)
    return std::nullopt;
  return std::move(*summary);
}

uint32_t end_of(const Entry& entry) {
  return entry.offset + static_cast<uint32_t>(entry.length.value);
}

// Those numbers, all of them, in order; else nothing.
std::vector<Entry> entries_between(Summary& summary, Sequence first, Sequence last) {
  std::erase_if(summary.entries, [&](const Entry& entry) {
    return entry.sequence < first || entry.sequence > last;
  });
  std::ranges::stable_sort(summary.entries, {}, &Entry::sequence);
  for (size_t i = 0; i < summary.entries.size(); ++i)
    if (summary.entries[i].sequence != first + i) return {};
  if (summary.entries.size() != last - first + 1) return {};
  return std::move(summary.entries);
}

std::vector<uint32_t> checksums_between(const TailSegment& segment, uint32_t begin, uint32_t end) {
  std::vector<uint32_t> sums;
  for (uint32_t block = begin; block < end; ++block) {
    le32 value;
    std::memcpy(&value, segment.memory.data() + block_size + block * sizeof value, sizeof value);
    sums.push_back(value.load());
  }
  return sums;
}

}  // namespace

std::optional<BridgedGap> bridge_gap(const TailSegment& segment, const Secret& secret, Gap gap) {
  auto summary = summary_of(segment, secret);
  if (!summary || summary->epoch != gap.epoch || summary->largest < gap.first) return std::nullopt;
  if (gap.first == 0) gap.first = summary->smallest;
  const uint32_t until = std::min(gap.until, blocks_of(segment));
  BridgedGap bridged;
  RecordHeader& record = bridged.record;
  bridged.behind = gap.until;
  Sequence last = std::min(gap.last, summary->largest);
  for (uint32_t at = gap.block + 1; at < until && bridged.to_the_end; ++at) {
    const auto later = record_at(segment, secret, at);
    if (!later || later->header.epoch != gap.epoch) continue;
    if (later->header.body.first <= gap.first) return std::nullopt;  // it belongs before the gap
    last = later->header.body.first - 1;
    record.wall_ns = later->header.wall_ns;
    bridged.behind = at;
    bridged.to_the_end = false;
  }
  record.body.entries = entries_between(*summary, gap.first, last);
  if (record.body.entries.empty()) return std::nullopt;
  uint32_t end = gap.block + 1;
  for (const Entry& entry : record.body.entries) {
    if (!has_payload(entry)) continue;
    if (entry.offset <= gap.block) return std::nullopt;
    end = std::max(end, end_of(entry));
  }
  if (bridged.behind == UINT32_MAX) bridged.behind = end;
  if (end > bridged.behind || bridged.behind > blocks_of(segment)) return std::nullopt;
  record.epoch = gap.epoch;
  record.at = {segment.name.generation, gap.block};
  record.body.first = gap.first;
  record.body.checksums = checksums_between(segment, gap.block + 1, bridged.behind);
  const auto header = unpack_segment_header(segment.memory.blocks(0, 1));
  if (bridged.to_the_end && header && header->generation == segment.name.generation)
    record.wall_ns = header->wall_ns;
  return bridged;
}

}  // namespace lamina
