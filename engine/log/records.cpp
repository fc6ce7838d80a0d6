// SPDX-License-Identifier: Apache-2.0
#include "engine/log/records.h"

#include <optional>

#include "blobs/segment.h"

namespace lamina {

Task<Result<std::shared_ptr<TailSegment>>> load_segment(const Blob& blob, SegmentName name) {
  auto segment = std::make_shared<TailSegment>();
  segment->name = name;
  segment->memory = Buffer(blob.segment_bytes());
  segment->sums = std::make_shared<std::vector<uint32_t>>(blob.segment_blocks());
  segment->next_block = payload_begin(SegmentClass::log, blob.segment_blocks(), 0);
  LAMINA_CO_TRY(co_await blob.read_segment(name.index, segment->memory.span()));
  co_return segment;
}

Task<Result<std::optional<RecordHeader>>> read_first_record(const Blob& blob, SegmentName name) {
  const uint32_t at = payload_begin(SegmentClass::log, blob.segment_blocks(), 0);
  Buffer block(block_size);
  IoBatch batch;
  batch.read(blob.disk(), blob.offset(name.index, at), block.span());
  co_await batch;
  LAMINA_CO_TRY(batch.result());
  auto record = unpack_record(block.span(), blob.superblock().secret, name, at);
  if (!record) co_return std::nullopt;
  co_return std::move(record->header);
}

Result<UnpackedRecord> record_at(const TailSegment& segment, const Secret& secret, uint32_t block) {
  const uint64_t blocks = segment.memory.size() / block_size;
  if (uint64_t{block} + 1 > blocks) return fail(Code::corrupt, "past the segment's end");
  auto record = unpack_record(segment.memory.blocks(block, 1), secret, segment.name, block);
  if (!record) return record;
  const uint64_t end = uint64_t{block} + 1 + record->header.payload_blocks();
  if (end > blocks) return fail(Code::corrupt, "a record longer than its segment");
  return record;
}

void note_record(TailSegment& segment, const RecordHeader& header) {
  const bool follows = header.at.block == segment.next_block;
  uint32_t block = header.at.block + 1;
  for (const uint32_t sum : header.body.checksums) (*segment.sums)[block++] = sum;
  segment.next_block = block;
  if (segment.first == 0) segment.first = header.body.first - (follows ? 0 : 1);
  segment.last = header.last();
  segment.epoch = header.epoch;
  for (const Entry& entry : header.body.entries) {
    segment.entry_bytes += packed_entry_size(entry, segment.first);
    segment.entries.push_back(entry);
  }
}

std::optional<UnpackedRecord> next_record(const TailSegment& segment, const Secret& secret,
                                          uint32_t from) {
  const auto blocks = static_cast<uint32_t>(segment.memory.size() / block_size);
  for (uint32_t block = from; block < blocks; ++block)
    if (auto record = record_at(segment, secret, block)) return std::move(*record);
  return std::nullopt;
}

namespace {

// The record before that one, of which nothing but this is left (B1): if it lies in the segment,
// past what is noted.
std::optional<RecordHeader> repeated_by(const TailSegment& segment, const RecordHeader& after) {
  const Address at = after.previous_at;
  if (at.generation != segment.name.generation || at.block < segment.next_block ||
      after.previous.entries.empty())
    return std::nullopt;
  RecordHeader lost;
  lost.epoch = after.epoch;
  lost.at = at;
  lost.body = after.previous;
  return lost;
}

}  // namespace

uint32_t note_records(TailSegment& segment, const Secret& secret, uint32_t until,
                      const std::function<bool(const RecordHeader&)>& counts, bool past_gaps,
                      const RecordHeader* behind) {
  const auto note = [&](const RecordHeader& header) {
    const bool goes_on = counts(header);
    if (goes_on) note_record(segment, header);
    return goes_on;
  };
  uint32_t gone = 0;
  while (segment.next_block < until) {
    const uint32_t at = segment.next_block;
    const auto record = record_at(segment, secret, at);
    if (record) {
      if (!note(record->header)) break;
      continue;
    }
    // Its header is gone: the record after it repeats what it covered (B1).
    ++gone;
    const auto later = next_record(segment, secret, at + 1);
    const RecordHeader* const after = later ? &later->header : behind;
    if (!after) break;
    const auto lost = repeated_by(segment, *after);
    if (!past_gaps && !(lost && lost->at.block == at)) break;
    if (lost && !note(*lost)) break;
    if (!later) break;
    if (after->at.block >= until)
      segment.next_block = after->at.block;
    else if (!note(*after))
      break;
  }
  return gone;
}

}  // namespace lamina
