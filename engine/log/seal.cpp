// SPDX-License-Identifier: Apache-2.0
#include "engine/log/seal.h"

#include <cstring>

#include "base/check.h"
#include "base/endian.h"
#include "blobs/segment.h"
#include "blobs/summary.h"
#include "engine/log/log.h"

namespace lamina {
bool lacks_entries(const Summary& summary) {
  return !summary.entries.empty() &&
         summary.entries.size() != summary.largest - summary.smallest + 1;
}

void store_sums(const std::vector<uint32_t>& sums, std::span<std::byte> blocks) {
  std::memset(blocks.data(), 0, blocks.size());
  for (size_t i = 0; i < sums.size(); ++i) {
    le32 value;
    value.store(sums[i]);
    std::memcpy(blocks.data() + i * 4, value.bytes.data(), 4);
  }
}

Task<Result<>> seal_log_segment(const PoolIdentity& identity, Blob& blob, TailSegment& segment,
                                uint64_t wall_ns, Counters& counters) {
  const SegmentName& name = segment.name;
  const uint32_t blocks = blob.segment_blocks();
  const uint32_t sum_blocks = array_blocks(SegmentClass::log, blocks);
  SegmentHeader header;
  header.pool = identity.pool;
  header.secret = identity.secret;
  header.blob = name.blob;
  header.index = name.index;
  header.generation = name.generation;
  header.kind = SegmentClass::log;
  header.state = SegmentState::sealed;
  header.epoch = segment.epoch;
  header.blocks = blocks;
  header.used_end = segment.next_block;
  header.wall_ns = wall_ns;
  pack_segment_header(header, segment.memory.blocks(0, 1));
  store_sums(*segment.sums, segment.memory.blocks(1, sum_blocks));

  Summary summary;
  summary.epoch = segment.epoch;
  summary.smallest = segment.first;
  summary.largest = segment.last;
  summary.checksums_sum = plain_checksum(segment.memory.blocks(1, sum_blocks));
  summary.entries = std::move(segment.entries);
  const uint32_t length = summary_blocks(segment.entry_bytes);
  LAMINA_CHECK(segment.next_block + length <= blocks);
  const uint32_t at = blocks - length;
  pack_summary(summary, identity.secret, {name.blob, name.index, name.generation, at}, true,
               segment.memory.blocks(at, length));
  segment.entries = std::move(summary.entries);  // until it is durable (A19)

  IoBatch batch;
  batch.write(blob.disk(), blob.offset(name.index, 0), segment.memory.blocks(0, 1 + sum_blocks));
  batch.write(blob.disk(), blob.offset(name.index, at), segment.memory.blocks(at, length));
  co_await batch;
  counters.add(Cause::summaries, uint64_t{1 + sum_blocks + length} * block_size);
  co_return batch.result();
}

void put_sums(Sums& sums, const TailSegment& segment) {
  const uint32_t pages = static_cast<uint32_t>(div_up(segment.sums->size(), Sums::page_blocks));
  Buffer block(uint64_t{pages} * block_size);
  store_sums(*segment.sums, block.span());
  for (uint32_t page = 0; page < pages; ++page)
    sums.put(segment.name.generation, page, block.blocks(page, 1));
}

}  // namespace lamina
