// SPDX-License-Identifier: Apache-2.0
#include "engine/space/read_summary.h"

#include "base/buffer.h"
#include "engine/pool_state.h"

namespace lamina {

Task<Result<Summary>> read_summary(PoolState& pool, Generation generation) {
  const auto name = pool.space.find(generation);
  if (!name) co_return fail(Code::not_found, "the segment is gone");
  Blob& blob = pool.space.blob(name->blob);
  const uint32_t blocks = blob.segment_blocks();
  Buffer last(block_size);
  IoBatch first;
  first.read(blob.disk(), blob.offset(name->index, blocks - 1), last.span());
  co_await first;
  LAMINA_CO_TRY(first.result());
  MetadataPlace place{name->blob, name->index, generation, blocks - 1};
  auto length = back_summary_blocks(last.span(), pool.identity.secret, place);
  if (!length) co_return forward_error(length);
  place.block = blocks - *length;
  Buffer all(uint64_t{*length} * block_size);
  IoBatch rest;
  rest.read(blob.disk(), blob.offset(name->index, place.block), all.span());
  co_await rest;
  LAMINA_CO_TRY(rest.result());
  co_return unpack_summary(all.span(), pool.identity.secret, place, true);
}

}  // namespace lamina
