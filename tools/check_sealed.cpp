// SPDX-License-Identifier: Apache-2.0
#include "tools/check_sealed.h"

#include <span>
#include <string>
#include <utility>

#include "base/buffer.h"
#include "blobs/record.h"
#include "blobs/summary.h"
#include "tools/check_blob.h"

namespace lamina {
namespace {

class SegmentCheck {
 public:
  SegmentCheck(Blob& blob, uint32_t index, SegmentHeader header, CheckReport& report)
      : blob_(blob), index_(index), header_(std::move(header)), report_(report) {}

  Task<void> check() {
    Task<void> back = check_back();
    co_await back;
    if (is_moved(header_.kind)) {
      Task<void> front = check_front();
      co_await front;
    }
    if (header_.kind == SegmentClass::log) {
      Task<void> records = check_records();
      co_await records;
    }
  }

 private:
  // The summary at the end of the segment, and the checksums that it vouches for.
  Task<void> check_back() {
    const uint32_t last = blob_.segment_blocks() - 1;
    Buffer block(block_size);
    Task<Result<>> reading = read_blocks(blob_, blob_.offset(index_, last), block.span());
    const Result<> read = co_await reading;
    if (!read) co_return damaged("B4", last, read.error().message);
    const auto blocks = back_summary_blocks(block.span(), secret(), place(last));
    if (!blocks) co_return damaged("B4", last, "back summary: " + blocks.error().message);
    const uint32_t first = blob_.segment_blocks() - *blocks;
    Task<void> checking = check_summary(first, *blocks, true);
    co_await checking;
  }

  // And the one behind the header (B4).
  Task<void> check_front() {
    const uint32_t first = 1 + array_blocks(header_.kind, blob_.segment_blocks());
    Buffer block(block_size);
    Task<Result<>> reading = read_blocks(blob_, blob_.offset(index_, first), block.span());
    const Result<> read = co_await reading;
    if (!read) co_return damaged("B4", first, read.error().message);
    const auto blocks = front_summary_blocks(block.span(), secret(), place(first));
    if (!blocks) co_return damaged("B4", first, "front summary: " + blocks.error().message);
    Task<void> checking = check_summary(first, *blocks, false);
    co_await checking;
  }

  // From header to header; behind a bad one the next that is good is looked for.
  Task<void> check_records() {
    const SegmentName name{blob_.id(), index_, header_.generation};
    Buffer block(block_size);
    bool searching = false;
    for (uint32_t at = payload_begin(header_.kind, blob_.segment_blocks(), 0);
         at < header_.used_end;) {
      Task<Result<>> reading = read_blocks(blob_, blob_.offset(index_, at), block.span());
      const Result<> read = co_await reading;
      const auto record = read ? unpack_record(block.span(), secret(), name, at)
                               : Result<UnpackedRecord>(std::unexpected(read.error()));
      if (!record && !searching) damaged("B1", at, "a record's header: " + record.error().message);
      searching = !record;
      at += record ? 1 + record->header.payload_blocks() : 1;
    }
  }

  const Secret& secret() const { return blob_.superblock().secret; }
  MetadataPlace place(uint32_t block) const {
    return {blob_.id(), index_, header_.generation, block};
  }
  void damaged(const char* rule, uint32_t block, const std::string& what) {
    report_.findings.push_back({rule,
                                blob_.disk().name() + "@" +
                                    std::to_string(blob_.offset(index_, block)) + " (segment " +
                                    std::to_string(index_) + ", generation " +
                                    std::to_string(raw(header_.generation)) + ")",
                                what});
  }

  Task<void> check_summary(uint32_t first, uint32_t count, bool back) {
    Buffer blocks(uint64_t{count} * block_size);
    Task<Result<>> reading = read_blocks(blob_, blob_.offset(index_, first), blocks.span());
    const Result<> read = co_await reading;
    if (!read) co_return damaged("B4", first, read.error().message);
    const auto summary = unpack_summary(blocks.span(), secret(), place(first), back);
    if (!summary) co_return damaged("B4", first, "summary: " + summary.error().message);
    Task<void> checking = check_checksums(*summary);
    co_await checking;
  }

  Task<void> check_checksums(const Summary& summary) {
    const uint32_t count = array_blocks(header_.kind, blob_.segment_blocks());
    if (count == 0) co_return;
    Buffer blocks(uint64_t{count} * block_size);
    for (const uint32_t at : array_places(summary)) {
      if (at + count > blob_.segment_blocks()) continue;
      Task<Result<>> reading = read_blocks(blob_, blob_.offset(index_, at), blocks.span());
      const Result<> read = co_await reading;
      if (!read)
        damaged("B6", at, read.error().message);
      else if (plain_checksum(blocks.span()) != summary.checksums_sum)
        damaged("B6", at, "the payload checksums are not those that the summary vouches for");
    }
  }

  Blob& blob_;
  const uint32_t index_;
  const SegmentHeader header_;
  CheckReport& report_;
};

}  // namespace

Task<void> check_sealed(Blob& blob, uint32_t index, SegmentHeader header, CheckReport& report) {
  SegmentCheck segment(blob, index, std::move(header), report);
  Task<void> checking = segment.check();
  co_await checking;
}

}  // namespace lamina
