// SPDX-License-Identifier: Apache-2.0
#include "engine/orphans.h"

#include <algorithm>
#include <string>

#include "base/buffer.h"
#include "engine/log/records.h"

namespace lamina {
namespace {

constexpr size_t headers_at_once = 256;

Task<Result<>> check_unreached(PoolState& pool, SegmentName name, Sequence end) {
  const auto first = co_await read_first_record(pool.space.blob(name.blob), name);
  if (!first || !*first || (*first)->durable_through <= end) co_return Result<>{};
  co_return fail(Code::corrupt,
                 "the log was durable up to entry " +
                     std::to_string((*first)->durable_through) + " at least, but only " +
                     std::to_string(end) +
                     " can be reached: a part of it is damaged; `lamina repair` looks for what is "
                     "left (A2)");
}

}  // namespace

Task<std::vector<SegmentHeader>> read_headers(Blob& blob, Uuid pool,
                                              std::vector<uint32_t> indexes) {
  std::vector<SegmentHeader> out;
  for (size_t first = 0; first < indexes.size(); first += headers_at_once) {
    const size_t count = std::min(headers_at_once, indexes.size() - first);
    Buffer headers(count * block_size);
    IoBatch batch;
    for (size_t i = 0; i < count; ++i)
      batch.read(blob.disk(), blob.offset(indexes[first + i], 0), headers.blocks(i, 1));
    co_await batch;
    for (size_t i = 0; i < count; ++i) {
      auto header = unpack_segment_header(headers.blocks(i, 1));
      if (header && header->pool == pool && header->index == indexes[first + i])
        out.push_back(*header);
    }
  }
  co_return out;
}

Task<Result<std::vector<Orphan>>> find_orphans(PoolState& pool, Generation known, Sequence end,
                                               SegmentChain next) {
  for (const SegmentName& name : next)
    if (name.generation != Generation::none)
      LAMINA_CO_TRY(co_await check_unreached(pool, name, end));
  std::vector<Orphan> orphans;
  for (const auto& blob : pool.blobs()) {
    std::vector<uint32_t> free = pool.space.free_segments(blob->id());
    for (const SegmentHeader& header :
         co_await read_headers(*blob, pool.identity.pool, std::move(free))) {
      if (header.generation < known || header.state == SegmentState::retired) continue;
      const Orphan orphan{{blob->id(), header.index, header.generation}, header.kind};
      orphans.push_back(orphan);
      if (header.kind == SegmentClass::log)
        LAMINA_CO_TRY(co_await check_unreached(pool, orphan.name, end));
    }
  }
  co_return orphans;
}

}  // namespace lamina
