// SPDX-License-Identifier: Apache-2.0
#include "engine/heal/segment_parts.h"

#include <cstring>
#include <utility>

#include "base/checksum.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

bool is_header_of(const Result<SegmentHeader>& header, SegmentName name, const PoolState& pool) {
  return header && header->generation == name.generation && header->index == name.index &&
         header->pool == pool.identity.pool;
}

// One by one: a block that cannot be read is a bad one.
Task<void> read_each(const Blob& blob, uint32_t index, uint32_t begin, std::span<std::byte> into) {
  for (uint32_t i = 0; i < into.size() / block_size; ++i) {
    const auto block = into.subspan(size_t{i} * block_size, block_size);
    IoBatch batch;
    batch.read(blob.disk(), blob.offset(index, begin + i), block);
    co_await batch;
    if (!batch.ok()) std::memset(block.data(), 0xff, block_size);
  }
}

}  // namespace

Task<Result<SegmentParts>> look_at_segment(PoolState& pool, Segment row) {
  SegmentParts parts;
  Blob& blob = pool.space.blob(row.name.blob);
  const uint32_t count = array_blocks(row.kind, blob.segment_blocks());
  Buffer first(block_size);
  co_await read_each(blob, row.name.index, 0, first.span());
  const auto header = unpack_segment_header(first.span());
  parts.header = is_header_of(header, row.name, pool);
  if (parts.header) parts.says = *header;
  parts.back = co_await read_summary_copy(pool, row, true);
  if (row.kind != SegmentClass::log) parts.front = co_await read_summary_copy(pool, row, false);
  const SummaryCopy* const any = parts.any();
  const std::vector<uint32_t> places = any ? array_places(any->summary) : std::vector<uint32_t>{1};
  for (const uint32_t block : places) {
    if (block + count > blob.segment_blocks()) continue;
    ArrayCopy copy{block, false, Buffer(uint64_t{count} * block_size)};
    co_await read_each(blob, row.name.index, block, copy.bytes.span());
    copy.good = any && plain_checksum(copy.bytes.span()) == any->summary.checksums_sum;
    parts.arrays.push_back(std::move(copy));
  }
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
