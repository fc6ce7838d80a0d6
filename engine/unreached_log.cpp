// SPDX-License-Identifier: Apache-2.0
#include "engine/unreached_log.h"

#include <string>

#include "base/buffer.h"
#include "blobs/segment.h"

namespace lamina {

Task<Result<>> check_unreached(const Blob& blob, SegmentName name, Secret secret, Sequence end) {
  const uint32_t begin = payload_begin(SegmentClass::log, blob.segment_blocks(), 0);
  Buffer block(block_size);
  IoBatch batch;
  batch.read(blob.disk(), blob.offset(name.index, begin), block.span());
  co_await batch;
  if (!batch.ok()) co_return Result<>{};
  const auto first = unpack_record(block.span(), secret, name, begin);
  if (!first || first->header.durable_through <= end) co_return Result<>{};
  co_return fail(Code::corrupt,
                 "the log was durable up to entry " +
                     std::to_string(first->header.durable_through) + " at least, but only " +
                     std::to_string(end) +
                     " can be reached: a part of it is damaged; `lamina repair` looks for what is "
                     "left (A2)");
}

}  // namespace lamina
