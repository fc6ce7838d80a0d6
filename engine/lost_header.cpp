// SPDX-License-Identifier: Apache-2.0
#include "engine/lost_header.h"

#include <memory>
#include <optional>

#include "base/buffer.h"
#include "blobs/record.h"
#include "blobs/summary.h"
#include "engine/log/records.h"
#include "engine/tables.h"

namespace lamina {
namespace {

class LostHeader {
 public:
  LostHeader(const Blob& blob, uint32_t index) : blob_(blob), block_(block_size) {
    header_.pool = blob.superblock().pool;
    header_.secret = blob.superblock().secret;
    header_.blob = blob.id();
    header_.index = index;
    header_.blocks = blob.segment_blocks();
    header_.state = SegmentState::sealed;
  }

  Task<Result<SegmentHeader>> from_contents(const Slot* newest) {
    LAMINA_CO_TRY(co_await from_summary());
    LAMINA_CO_TRY(co_await from_first_record());
    if (is_unnamed() && newest) LAMINA_CO_TRY(co_await from_slot(*newest));
    if (is_unnamed()) co_return fail(Code::not_found, "nothing says what the segment is");
    co_return header_;
  }

  Task<Result<SegmentHeader>> from_records(Generation generation) {
    header_.generation = generation;
    Result<bool> found = co_await from_any_record();
    if (!found) co_return forward_error(found);
    if (!*found) co_return fail(Code::not_found, "the segment has no record left");
    header_.state = SegmentState::open;
    co_return header_;
  }

 private:
  bool is_unnamed() const { return header_.generation == Generation::none; }

  Task<Result<>> read(uint32_t block) {
    IoBatch batch;
    batch.read(blob_.disk(), blob_.offset(header_.index, block), block_.span());
    co_await batch;
    co_return batch.result();
  }

  MetadataPlace place(uint32_t block) const {
    return {header_.blob, header_.index, header_.generation, block};
  }

  void is_log(const RecordHeader& record) {
    header_.kind = SegmentClass::log;
    header_.epoch = record.epoch;
    header_.front_blocks = 0;
  }

  Task<Result<>> from_summary() {
    const uint32_t last = header_.blocks - 1;
    LAMINA_CO_TRY(co_await read(last));
    const auto head = decode_summary_head(block_.span());
    if (!head) co_return Result<>{};
    header_.generation = Generation{head->place.generation};
    header_.epoch = head->summary.epoch;
    if (!back_summary_blocks(block_.span(), header_.secret, place(last))) {
      header_.generation = Generation::none;
      co_return Result<>{};
    }
    header_.kind =
        blob_.kind() == BlobKind::compression ? SegmentClass::frames : SegmentClass::moved;
    const auto& entries = head->summary.entries;
    if (!entries.empty() && entries.front().kind == EntryKind::node)
      header_.kind = SegmentClass::nodes;
    // What was moved says where the checksums lie again; the log does not.
    if (header_.kind == SegmentClass::moved && head->summary.second_array == 0) {
      Result<bool> is_log = co_await from_any_record();
      if (!is_log) co_return forward_error(is_log);
      if (*is_log) co_return Result<>{};
    }
    const uint32_t front = 1 + array_blocks(header_.kind, header_.blocks);
    LAMINA_CO_TRY(co_await read(front));
    header_.front_blocks =
        front_summary_blocks(block_.span(), header_.secret, place(front)).value_or(0);
    co_return Result<>{};
  }

  Task<Result<>> from_first_record() {
    const uint32_t first = payload_begin(SegmentClass::log, header_.blocks, 0);
    LAMINA_CO_TRY(co_await read(first));
    SegmentName claimed;
    if (!decode_record(block_.span(), claimed)) co_return Result<>{};
    const SegmentName name{blob_.id(), header_.index, claimed.generation};
    const auto record = unpack_record(block_.span(), header_.secret, name, first);
    if (!record || claimed.generation < header_.generation) co_return Result<>{};
    is_log(record->header);
    if (claimed.generation > header_.generation) header_.state = SegmentState::open;
    header_.generation = claimed.generation;
    co_return Result<>{};
  }

  // Of the generation that is known.
  Task<Result<bool>> from_any_record() {
    auto loading = load_segment(blob_, {header_.blob, header_.index, header_.generation});
    auto loaded = co_await loading;
    if (!loaded) co_return forward_error(loaded);
    const TailSegment& segment = **loaded;
    const auto record = next_record(segment, header_.secret, segment.next_block);
    if (record) is_log(record->header);
    co_return record.has_value();
  }

  Task<Result<>> from_slot(const Slot& newest) {
    for (const auto& copy : newest.tables) {
      for (const SlotExtent& run : copy) {
        if (run.segment.blob != header_.blob || run.segment.index != header_.index) continue;
        header_.kind = SegmentClass::nodes;
        header_.state = SegmentState::open;
        header_.generation = run.segment.generation;
        header_.epoch = newest.epoch;
        LAMINA_CO_TRY(co_await read(run.block));
        if (unpack_tables_page(block_.span(), header_.secret, place(run.block)))
          co_return Result<>{};
        header_.generation = Generation::none;
      }
    }
    co_return Result<>{};
  }

  const Blob& blob_;
  SegmentHeader header_;  // what is known; `generation` none: nothing
  Buffer block_;
};

}  // namespace

Task<Result<SegmentHeader>> header_from_contents(const Blob& blob, uint32_t index,
                                                 const Slot* newest) {
  LostHeader lost(blob, index);
  auto finding = lost.from_contents(newest);
  co_return co_await finding;
}

Task<Result<SegmentHeader>> header_from_records(const Blob& blob, SegmentName name) {
  LostHeader lost(blob, name.index);
  auto finding = lost.from_records(name.generation);
  co_return co_await finding;
}

}  // namespace lamina
