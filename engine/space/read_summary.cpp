// SPDX-License-Identifier: Apache-2.0
#include "engine/space/read_summary.h"

#include "base/buffer.h"
#include "blobs/segment.h"
#include "engine/pool_state.h"

namespace lamina {

namespace {

// The copy at that end. `edge`: where its header is.
Task<Result<Summary>> read_copy(PoolState& pool, SegmentName name, uint32_t edge, bool back) {
  Blob& blob = pool.space.blob(name.blob);
  const Secret& secret = pool.identity.secret;
  Buffer header(block_size);
  IoBatch first;
  first.read(blob.disk(), blob.offset(name.index, edge), header.span());
  co_await first;
  LAMINA_CO_TRY(first.result());
  MetadataPlace place{name.blob, name.index, name.generation, edge};
  auto length = back ? back_summary_blocks(header.span(), secret, place)
                     : front_summary_blocks(header.span(), secret, place);
  if (!length) co_return forward_error(length);
  if (*length > (back ? edge : blob.segment_blocks() - edge))
    co_return fail(Code::corrupt, "a summary is longer than its segment");
  if (back) place.block = edge + 1 - *length;
  Buffer all(uint64_t{*length} * block_size);
  IoBatch rest;
  rest.read(blob.disk(), blob.offset(name.index, place.block), all.span());
  co_await rest;
  LAMINA_CO_TRY(rest.result());
  co_return unpack_summary(all.span(), secret, place, back);
}

}  // namespace

// B4: the one at the back, or, where there are two, the one at the front.
Task<Result<Summary>> read_summary(PoolState& pool, Generation generation) {
  const auto segment = pool.space.segment(generation);
  if (!segment) co_return fail(Code::not_found, "the segment is gone");
  const uint32_t blocks = pool.space.blob(segment->name.blob).segment_blocks();
  auto summary = co_await read_copy(pool, segment->name, blocks - 1, true);
  if (summary || segment->kind == SegmentClass::log) co_return summary;
  const uint32_t front = 1 + array_blocks(segment->kind, blocks);
  co_return co_await read_copy(pool, segment->name, front, false);
}

}  // namespace lamina
