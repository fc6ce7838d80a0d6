// SPDX-License-Identifier: Apache-2.0
#include "engine/heal/segment_parts.h"

#include <cstring>

#include "base/checksum.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

bool is_header_of(const Result<SegmentHeader>& header, SegmentName name, const PoolState& pool) {
  return header && header->generation == name.generation && header->index == name.index &&
         header->pool == pool.identity.pool;
}

}  // namespace

Task<Result<SegmentParts>> look_at_segment(PoolState& pool, Segment row) {
  SegmentParts parts;
  Blob& blob = pool.space.blob(row.name.blob);
  const uint32_t count = array_blocks(row.kind, blob.segment_blocks());
  parts.bytes = Buffer(uint64_t{1 + count} * block_size);
  for (uint32_t i = 0; i < 1 + count;
       ++i) {  // one by one: a block that cannot be read is a bad one
    IoBatch batch;
    batch.read(blob.disk(), blob.offset(row.name.index, i), parts.bytes.blocks(i, 1));
    co_await batch;
    if (!batch.ok()) std::memset(parts.bytes.blocks(i, 1).data(), 0xff, block_size);
  }
  const auto header = unpack_segment_header(parts.bytes.blocks(0, 1));
  parts.header = is_header_of(header, row.name, pool);
  if (parts.header) parts.says = *header;
  parts.back = co_await read_summary_copy(pool, row, true);
  if (row.kind != SegmentClass::log) parts.front = co_await read_summary_copy(pool, row, false);
  const SummaryCopy* any = parts.back ? &*parts.back : parts.front ? &*parts.front : nullptr;
  parts.array = any && plain_checksum(parts.bytes.blocks(1, count)) == any->summary.checksums_sum;
  co_return parts;
}

Task<bool> header_names(PoolState& pool, SegmentName name) {
  Blob& blob = pool.space.blob(name.blob);
  Buffer block(block_size);
  IoBatch batch;
  batch.read(blob.disk(), blob.offset(name.index, 0), block.span());
  co_await batch;
  co_return batch.ok() && is_header_of(unpack_segment_header(block.span()), name, pool);
}

}  // namespace lamina
