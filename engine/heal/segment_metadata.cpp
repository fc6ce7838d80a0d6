// SPDX-License-Identifier: Apache-2.0
// What a sealed segment says of itself, written again in its place where it is damaged.
#include <algorithm>
#include <cstring>

#include "base/checksum.h"
#include "blobs/segment.h"
#include "blobs/summary.h"
#include "engine/heal/healer.h"
#include "engine/heal/segment_parts.h"
#include "engine/log/seal.h"
#include "engine/pool_state.h"
#include "engine/space/read_summary.h"

namespace lamina {
namespace {

// All of it is in the records (B4); they must be all there.
Task<Result<uint64_t>> heal_log_segment(PoolState& pool, const Segment& row,
                                        const SegmentParts& parts) {
  // What never got a seal, because its disk took none, is told by its records for good.
  if (parts.header && parts.says.state != SegmentState::sealed) co_return uint64_t{0};
  const uint64_t bad =
      (parts.header ? 0 : 1) + (parts.arrays_good() ? 0 : 1) + (parts.back ? 0 : 1);
  if (bad == 0) co_return bad;
  auto segment = co_await read_by_records(pool, row);
  if (!segment) co_return forward_error(segment);
  LAMINA_CO_TRY(co_await seal_log_segment(pool.identity, pool.space.blob(row.name.blob), **segment,
                                          pool.settings.background->wall_ns(), pool.counters));
  // Where one thing alone was bad the checksum counts two of them: no array is judged without a
  // summary.
  co_return parts.back ? bad : bad - 1;
}

SegmentHeader header_of(PoolState& pool, const Segment& row, const SummaryCopy& any,
                        const Result<SummaryCopy>& front) {
  SegmentHeader header;
  header.pool = pool.identity.pool;
  header.secret = pool.identity.secret;
  header.blob = row.name.blob;
  header.index = row.name.index;
  header.generation = row.name.generation;
  header.kind = row.kind;
  header.state = SegmentState::sealed;
  header.epoch = any.summary.epoch;
  header.blocks = pool.space.blob(row.name.blob).segment_blocks();
  header.front_blocks = front ? front->blocks : any.blocks;
  header.used_end = row.used_blocks;
  header.addressed = row.addressed;
  header.wall_ns = pool.settings.background->wall_ns();
  return header;
}

Task<Result<uint64_t>> heal_moved_segment(PoolState& pool, const Segment& row,
                                          SegmentParts& parts) {
  if (!parts.back && !parts.front)
    co_return fail(Code::corrupt, "both summaries of a segment are damaged");
  const SummaryCopy& any = *parts.any();
  Blob& blob = pool.space.blob(row.name.blob);
  const uint32_t blocks = blob.segment_blocks(), count = array_blocks(row.kind, blocks);
  const auto offset = [&](uint32_t block) { return blob.offset(row.name.index, block); };
  uint64_t bad = 0;
  IoBatch writes;
  Buffer array, header(block_size), summary(uint64_t{any.blocks} * block_size);
  if (!parts.arrays_good()) {
    auto again = co_await read_array_again(pool, row, any.summary);
    if (again) array = std::move(*again);
    for (const ArrayCopy& copy : parts.arrays)
      for (uint32_t i = 0; again && i < count; ++i) {
        if (std::ranges::equal(array.blocks(i, 1), copy.bytes.blocks(i, 1))) continue;
        writes.write(blob.disk(), offset(copy.block + i), array.blocks(i, 1));
        ++bad;
      }
  }
  if (!parts.header) {
    pack_segment_header(header_of(pool, row, any, parts.front), header.span());
    writes.write(blob.disk(), offset(0), header.span());
    ++bad;
  }
  if (!parts.back || !parts.front) {
    const bool back = !parts.back;
    const uint32_t begin = back ? blocks - any.blocks : 1 + count;
    pack_summary(any.summary, pool.identity.secret,
                 {row.name.blob, row.name.index, row.name.generation, begin}, back, summary.span());
    writes.write(blob.disk(), offset(begin), summary.span());
    ++bad;
  }
  co_await writes;
  LAMINA_CO_TRY(writes.result());
  pool.counters.add(Cause::healing, bad * block_size);
  co_return bad;
}

}  // namespace

Task<Result<uint64_t>> Healer::heal_segment(Generation generation) {
  // Held until it has been written: with what is shared from then on, nobody frees the segment.
  const ImagePtr held = pool_.newest_image();
  const auto row = pool_.space.segment(generation);
  const bool has_data = row && row->is_filled() && row->holds_data();
  if (!has_data || pool_.space.blob(row->name.blob).disk().given_up()) co_return uint64_t{0};
  Result<SegmentParts> parts = fail(Code::corrupt);
  for (const bool shared : {false, true}) {  // what is good needs no sharing
    if (shared) {
      Lock order(pool_.log.order());
      if (!pool_.space.share_if_alive(generation, pool_.log.last())) co_return uint64_t{0};
    }
    Task<Result<SegmentParts>> looking = look_at_segment(pool_, *row);
    parts = co_await looking;
    if (!parts) co_return forward_error(parts);
    if (parts->good(row->kind)) co_return uint64_t{0};
  }
  Task<Result<uint64_t>> healing = row->kind == SegmentClass::log
                                       ? heal_log_segment(pool_, *row, *parts)
                                       : heal_moved_segment(pool_, *row, *parts);
  const Result<uint64_t> healed = co_await healing;
  if (!healed && healed.error().code == Code::corrupt)
    pool_.settings.log(Settings::Severity::warning,
                       "segment " + std::to_string(row->name.index) + " of " +
                           pool_.space.blob(row->name.blob).disk().name() +
                           " is damaged: " + healed.error().message);
  co_return healed;
}

}  // namespace lamina
