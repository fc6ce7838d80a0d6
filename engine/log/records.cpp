// SPDX-License-Identifier: Apache-2.0
#include "engine/log/records.h"

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
  uint32_t block = header.at.block + 1;
  for (const uint32_t sum : header.body.checksums) (*segment.sums)[block++] = sum;
  segment.next_block = block;
  if (segment.first == 0) segment.first = header.body.first;
  segment.last = header.last();
  segment.epoch = header.epoch;
  for (const Entry& entry : header.body.entries) {
    segment.entry_bytes += packed_entry_size(entry, segment.first);
    segment.entries.push_back(entry);
  }
}

uint32_t note_records(TailSegment& segment, const Secret& secret, uint32_t until,
                      const std::function<bool(const RecordHeader&)>& counts) {
  uint32_t gone = 0;
  while (segment.next_block < until) {
    const uint32_t at = segment.next_block;
    auto record = record_at(segment, secret, at);
    if (record) {
      if (!counts(record->header)) break;
      note_record(segment, record->header);
      continue;
    }
    // Its header is gone: the record after it repeats what it covered (B1).
    uint32_t after = at + 1;
    const auto blocks = static_cast<uint32_t>(segment.memory.size() / block_size);
    for (; after < blocks; ++after) {
      record = record_at(segment, secret, after);
      if (record && record->header.previous_at == Address{segment.name.generation, at}) break;
    }
    if (after >= blocks) {
      ++gone;
      break;
    }
    RecordHeader lost;
    lost.epoch = record->header.epoch;
    lost.at = {segment.name.generation, at};
    lost.body = record->header.previous;
    if (!counts(lost)) break;
    ++gone;
    note_record(segment, lost);
    segment.next_block = after;
  }
  return gone;
}

}  // namespace lamina
