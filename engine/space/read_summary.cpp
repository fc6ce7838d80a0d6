// SPDX-License-Identifier: Apache-2.0
#include "engine/space/read_summary.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/buffer.h"
#include "base/checksum.h"
#include "base/endian.h"
#include "blobs/segment.h"
#include "engine/log/records.h"
#include "engine/log/seal.h"
#include "engine/pool_state.h"
#include "engine/rebuild_scan.h"
#include "engine/space/array_again.h"

namespace lamina {

Task<Result<SummaryCopy>> read_summary_copy(PoolState& pool, const Segment& row, bool back) {
  const SegmentName name = row.name;
  Blob& blob = pool.space.blob(name.blob);
  const Secret& secret = pool.identity.secret;
  const uint32_t edge =
      back ? blob.segment_blocks() - 1 : 1 + array_blocks(row.kind, blob.segment_blocks());
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
  auto summary = unpack_summary(all.span(), secret, place, back);
  if (!summary) co_return forward_error(summary);
  co_return SummaryCopy{std::move(*summary), *length};
}

namespace {

// The first record of the log's next segment, which repeats the last one of this (B1).
Task<std::optional<RecordHeader>> record_behind(PoolState& pool, Generation generation) {
  std::optional<Segment> next;
  for (const Segment& row : pool.space.segments())
    if (row.kind == SegmentClass::log && row.name.generation > generation &&
        (!next || row.name.generation < next->name.generation))
      next = row;
  if (!next) co_return std::nullopt;
  auto record = co_await read_first_record(pool.space.blob(next->name.blob), next->name);
  if (!record) co_return std::nullopt;
  co_return std::move(*record);
}

// What is left of the records of a log segment.
struct Records {
  std::shared_ptr<TailSegment> segment;
  bool whole = false;
};
Task<Result<Records>> read_records(PoolState& pool, Segment row) {
  Blob& blob = pool.space.blob(row.name.blob);
  auto segment = co_await load_segment(blob, row.name);
  if (!segment) co_return forward_error(segment);
  std::vector<EpochCut> cuts;
  {
    Lock order(pool.log.order());
    cuts = pool.epochs;
  }
  const auto counts = [&cuts](const RecordHeader& header) {
    return !is_void(cuts, header.epoch, header.last());
  };
  const bool open = row.use == SegmentUse::open;
  const uint32_t until = open ? blob.segment_blocks() : row.used_blocks;
  TailSegment& found = **segment;
  std::optional<RecordHeader> next;
  if (!open) next = co_await record_behind(pool, row.name.generation);
  const RecordHeader* const behind = next ? &*next : nullptr;
  note_records(found, pool.identity.secret, until, counts, false, behind);
  const uint32_t without_gap = found.next_block;
  note_records(found, pool.identity.secret, until, counts, true, behind);
  if (found.entries.empty()) co_return fail(Code::corrupt, "a log segment has no record left");
  const bool whole = found.next_block == without_gap && (open || without_gap >= until);
  co_return Records{std::move(*segment), whole};
}

}  // namespace

// A log segment's own records say all that its summary says (B4).
Task<Result<std::shared_ptr<TailSegment>>> read_by_records(PoolState& pool, Segment row) {
  auto records = co_await read_records(pool, row);
  if (!records) co_return forward_error(records);
  if (!records->whole) co_return fail(Code::corrupt, "not all records of a log segment are left");
  co_return std::move(records->segment);
}

Task<Result<Buffer>> read_array_again(PoolState& pool, const Segment& row, const Summary& summary) {
  Blob& blob = pool.space.blob(row.name.blob);
  Buffer segment(blob.segment_bytes());
  LAMINA_CO_TRY(co_await blob.read_readable(row.name.index, segment.span()));
  const MetadataPlace place{row.name.blob, row.name.index, row.name.generation, 0};
  auto array = array_again(row.kind, segment.span(), pool.identity.secret, place, summary);
  if (!array) co_return fail(Code::corrupt, "the segment's checksums do not match its summary");
  co_return std::move(*array);
}

namespace {

// B4: the one at the back, or, where there are two, the one at the front.
Task<Result<Summary>> read_copies(PoolState& pool, const Segment& row) {
  auto copy = co_await read_summary_copy(pool, row, true);
  if (copy) co_return std::move(copy->summary);
  pool.healer.note_segment(row.name.generation);
  if (row.kind == SegmentClass::log) co_return forward_error(copy);
  auto front = co_await read_summary_copy(pool, row, false);
  if (!front) co_return forward_error(front);
  co_return std::move(front->summary);
}

Contents contents_of(const TailSegment& segment) {
  Contents contents;
  contents.summary.epoch = segment.epoch;
  contents.summary.smallest = segment.first;
  contents.summary.largest = segment.last;
  contents.summary.entries = segment.entries;
  contents.sums = *segment.sums;
  return contents;
}

// As they lie on the medium. Frames have checksums of their own, and say where they lie (B4).
Task<Result<Contents>> read_arrays(PoolState& pool, const Segment& row) {
  Contents contents;
  if (row.kind == SegmentClass::frames) {
    auto summary = co_await read_copies(pool, row);
    if (!summary) co_return forward_error(summary);
    contents.summary = std::move(*summary);
    co_return contents;
  }
  Blob& blob = pool.space.blob(row.name.blob);
  const uint32_t blocks = array_blocks(row.kind, blob.segment_blocks());
  Buffer sums(uint64_t{blocks} * block_size);
  IoBatch batch;
  batch.read(blob.disk(), blob.offset(row.name.index, 1), sums.span());
  co_await batch;
  auto summary = co_await read_copies(pool, row);
  if (!summary) co_return forward_error(summary);
  if (!batch.ok() || plain_checksum(sums.span()) != summary->checksums_sum) {
    pool.healer.note_segment(row.name.generation);
    if (row.kind == SegmentClass::log)
      co_return fail(Code::corrupt, "the segment's checksums do not match its summary");
    auto array = co_await read_array_again(pool, row, *summary);
    if (!array) co_return forward_error(array);
    sums = std::move(*array);
  }
  contents.summary = std::move(*summary);
  contents.sums.resize(blob.segment_blocks());
  for (size_t i = 0; i < contents.sums.size(); ++i) {
    le32 value;
    std::memcpy(value.bytes.data(), sums.data() + i * 4, 4);
    contents.sums[i] = value.load();
  }
  co_return contents;
}

}  // namespace

Task<Result<Summary>> read_summary(PoolState& pool, Generation generation) {
  const auto row = pool.space.segment(generation);
  if (!row) co_return fail(Code::not_found, "the segment is gone");
  auto summary = co_await read_copies(pool, *row);
  if (summary || row->kind != SegmentClass::log) co_return summary;
  auto segment = co_await read_by_records(pool, *row);
  if (!segment) co_return summary;  // what is wrong with it says more
  co_return contents_of(**segment).summary;
}

Task<Result<Contents>> read_contents(PoolState& pool, Generation generation) {
  const auto row = pool.space.segment(generation);
  if (!row) co_return fail(Code::not_found, "the segment is gone");
  auto contents = co_await read_arrays(pool, *row);
  if (contents || row->kind != SegmentClass::log) co_return contents;
  auto records = co_await read_records(pool, *row);
  if (!records) co_return contents;
  contents = contents_of(*records->segment);
  contents->whole = records->whole;
  if (contents->whole) co_return contents;
  auto summary = co_await read_copies(pool, *row);
  contents->whole = summary.has_value();
  if (summary) contents->summary = std::move(*summary);
  co_return contents;
}

Task<Result<Buffer>> read_sums_again(PoolState& pool, Generation generation) {
  const auto row = pool.space.segment(generation);
  if (!row || (row->kind != SegmentClass::log && row->kind != SegmentClass::moved))
    co_return fail(Code::not_found, "no segment has that generation");
  pool.sums.forget(generation, pool.space.blob(row->name.blob).segment_blocks());
  if (row->kind == SegmentClass::moved) {
    auto summary = co_await read_copies(pool, *row);
    if (!summary) co_return forward_error(summary);
    co_return co_await read_array_again(pool, *row, *summary);
  }
  auto records = co_await read_records(pool, *row);
  if (!records) co_return forward_error(records);
  Buffer array(uint64_t{array_blocks(row->kind, pool.space.blob(row->name.blob).segment_blocks())} *
               block_size);
  store_sums(*records->segment->sums, array.span());
  co_return array;
}

}  // namespace lamina
