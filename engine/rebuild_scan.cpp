// SPDX-License-Identifier: Apache-2.0
#include "engine/rebuild_scan.h"

#include <algorithm>
#include <cstring>

#include "base/buffer.h"
#include "base/endian.h"
#include "blobs/record.h"
#include "blobs/summary.h"

namespace lamina {
namespace {

// The pages of one stream of tables, as far as they were found.
struct TablesStream {
  Epoch epoch = 0;
  Sequence cut = 0;
  uint32_t count = 0;
  std::map<uint32_t, std::vector<std::byte>> pages;
};

class Scanner {
 public:
  explicit Scanner(Scan& out) : out_(out) {}

  Task<Result<>> blob(Blob& blob);
  void finish();

 private:
  Task<Result<>> read(ScannedSegment& segment, uint32_t block, std::span<std::byte> into);
  Task<Result<>> segment(size_t index);
  Task<Result<bool>> summary(size_t index, bool back);
  Task<Result<bool>> sums(ScannedSegment& segment, uint64_t expected);
  Task<Result<>> records(size_t index, bool entries);
  Task<Result<>> tables_pages(ScannedSegment& segment);
  Task<Result<>> slots(Blob& blob);
  void take(const Entry& entry, size_t segment) {
    out_.entries.push_back({entry, out_.segments[segment].header.epoch, segment});
  }
  static MetadataPlace place(const ScannedSegment& segment, uint32_t block) {
    return {segment.header.blob, segment.header.index, segment.header.generation, block};
  }

  Scan& out_;
  std::map<CheckpointNumber, TablesStream> streams_;
};

Task<Result<>> Scanner::read(ScannedSegment& segment, uint32_t block, std::span<std::byte> into) {
  IoBatch batch;
  batch.read(segment.blob->disk(), segment.blob->offset(segment.header.index, block), into);
  co_await batch;
  co_return batch.result();
}

Task<Result<>> Scanner::blob(Blob& blob) {
  auto slots_task = slots(blob);
  LAMINA_CO_TRY(co_await slots_task);
  for (uint32_t index = 0; index < blob.segment_count(); ++index) {
    ScannedSegment segment;
    segment.blob = &blob;
    segment.header.index = index;
    Buffer block(block_size);
    auto read_task = read(segment, 0, block.span());
    LAMINA_CO_TRY(co_await read_task);
    const auto header = unpack_segment_header(block.span());
    if (!header || header->pool != blob.superblock().pool || header->blob != blob.id() ||
        header->index != index || header->blocks != blob.segment_blocks())
      continue;
    if (header->state == SegmentState::retired) {
      ++out_.stamped_segments;
      continue;
    }
    segment.header = *header;
    segment.sums.resize(header->blocks);
    segment.summed.resize(header->blocks);
    out_.by_generation[header->generation] = out_.segments.size();
    out_.segments.push_back(std::move(segment));
    auto segment_task = this->segment(out_.segments.size() - 1);
    LAMINA_CO_TRY(co_await segment_task);
  }
  co_return Result<>{};
}

// Only for the cuts that they repeat; whether a slot is the newest does not matter for that.
Task<Result<>> Scanner::slots(Blob& blob) {
  for (CheckpointNumber number = 0; number < slot_ring_length; ++number) {
    const std::array<uint64_t, 2> offsets = blob.slot_offsets(number);
    for (const uint64_t offset : offsets) {
      Buffer block(block_size);
      IoBatch batch;
      batch.read(blob.disk(), offset, block.span());
      co_await batch;
      LAMINA_CO_TRY(batch.result());
      const auto slot = unpack_slot(block.span(), blob.superblock().secret, blob.id(),
                                    static_cast<uint32_t>(offset / block_size));
      if (!slot) continue;
      out_.cuts.insert(out_.cuts.end(), slot->recent_cuts.begin(), slot->recent_cuts.end());
    }
  }
  co_return Result<>{};
}

Task<Result<>> Scanner::segment(size_t index) {
  const SegmentClass kind = out_.segments[index].header.kind;
  if (kind == SegmentClass::nodes) {
    auto task = tables_pages(out_.segments[index]);
    co_return co_await task;
  }
  if (kind == SegmentClass::headers) co_return Result<>{};

  bool known = false;
  if (out_.segments[index].header.state == SegmentState::sealed) {
    auto back = summary(index, true);
    const Result<bool> from_back = co_await back;
    if (!from_back) co_return fail(from_back.error().code, from_back.error().message);
    known = *from_back;
    if (!known) ++out_.damaged_summaries;
  }
  if (kind == SegmentClass::log) {
    // The headers also say where epochs began, which no summary does.
    if (!known) ++out_.from_records;
    auto task = records(index, !known);
    co_return co_await task;
  }
  if (!known) {
    auto front = summary(index, false);
    const Result<bool> from_front = co_await front;
    if (!from_front) co_return fail(from_front.error().code, from_front.error().message);
  }
  co_return Result<>{};
}

// True: the summary at that end is good, and so are the checksums; they have been taken.
Task<Result<bool>> Scanner::summary(size_t index, bool back) {
  ScannedSegment& segment = out_.segments[index];
  const SegmentHeader& header = segment.header;
  const Secret& secret = header.secret;
  const uint32_t front = 1 + array_blocks(header.kind, header.blocks);
  const uint32_t edge = back ? header.blocks - 1 : front;
  Buffer first(block_size);
  auto edge_task = read(segment, edge, first.span());
  LAMINA_CO_TRY(co_await edge_task);
  const auto count = back ? back_summary_blocks(first.span(), secret, place(segment, edge))
                          : front_summary_blocks(first.span(), secret, place(segment, edge));
  if (!count || *count > header.blocks - front) co_return false;
  const uint32_t begin = back ? header.blocks - *count : front;
  Buffer blocks(uint64_t{*count} * block_size);
  auto all_task = read(segment, begin, blocks.span());
  LAMINA_CO_TRY(co_await all_task);
  const auto summary = unpack_summary(blocks.span(), secret, place(segment, begin), back);
  if (!summary) co_return false;
  auto sums_task = sums(segment, summary->checksums_sum);
  const Result<bool> good = co_await sums_task;
  if (!good || !*good) co_return good;
  for (const Entry& entry : summary->entries) take(entry, index);
  co_return true;
}

Task<Result<bool>> Scanner::sums(ScannedSegment& segment, uint64_t expected) {
  const uint32_t count = array_blocks(segment.header.kind, segment.header.blocks);
  Buffer blocks(uint64_t{count} * block_size);
  auto task = read(segment, 1, blocks.span());
  LAMINA_CO_TRY(co_await task);
  if (plain_checksum(blocks.span()) != expected) co_return false;
  const size_t words = std::min(segment.sums.size(), blocks.size() / sizeof(le32));
  for (size_t i = 0; i < words; ++i) {
    le32 value;
    std::memcpy(value.bytes.data(), blocks.data() + i * sizeof value, sizeof value);
    segment.sums[i] = value.load();
    segment.summed[i] = true;
  }
  co_return true;
}

// Follows the headers from the front to the first block that is none.
Task<Result<>> Scanner::records(size_t index, bool entries) {
  ScannedSegment& segment = out_.segments[index];
  const SegmentHeader header = segment.header;
  const SegmentName name{header.blob, header.index, header.generation};
  Buffer block(block_size);
  uint32_t at = payload_begin(header.kind, header.blocks, header.front_blocks);
  while (at < header.blocks) {
    auto task = read(segment, at, block.span());
    LAMINA_CO_TRY(co_await task);
    const auto record = unpack_record(block.span(), header.secret, name, at);
    if (!record || record->header.epoch != header.epoch) break;
    const RecordHeader& found = record->header;
    if (found.starts_epoch && found.epoch > 0)
      out_.cuts.push_back({found.epoch - 1, found.cut_sequence});
    for (uint32_t i = 0; entries && i < found.payload_blocks(); ++i) {
      if (at + 1 + i >= header.blocks) break;
      segment.sums[at + 1 + i] = found.body.checksums[i];
      segment.summed[at + 1 + i] = true;
    }
    if (entries)
      for (const Entry& entry : found.body.entries) take(entry, index);
    at += 1 + found.payload_blocks();
  }
  co_return Result<>{};
}

Task<Result<>> Scanner::tables_pages(ScannedSegment& segment) {
  const SegmentHeader& header = segment.header;
  const uint32_t begin = payload_begin(header.kind, header.blocks, header.front_blocks);
  Buffer blocks(uint64_t{header.blocks - begin} * block_size);
  auto task = read(segment, begin, blocks.span());
  LAMINA_CO_TRY(co_await task);
  for (uint32_t i = 0; i < header.blocks - begin; ++i) {
    const auto page =
        unpack_tables_page(blocks.blocks(i, 1), header.secret, place(segment, begin + i));
    if (!page || page->epoch != header.epoch) continue;
    TablesStream& stream = streams_[page->number];
    if (page->epoch < stream.epoch) continue;
    if (page->epoch > stream.epoch) stream.pages.clear();
    stream.epoch = page->epoch;
    stream.cut = page->cut;
    stream.count = page->count;
    stream.pages[page->index].assign(page->bytes.begin(), page->bytes.end());
  }
  co_return Result<>{};
}

void Scanner::finish() {
  for (auto at = streams_.rbegin(); at != streams_.rend() && !out_.has_tables; ++at) {
    const TablesStream& stream = at->second;
    if (stream.pages.size() != stream.count || is_void(out_.cuts, stream.epoch, stream.cut))
      continue;
    std::vector<std::byte> bytes;
    for (const auto& [number, page] : stream.pages)
      bytes.insert(bytes.end(), page.begin(), page.end());
    auto tables = unpack_tables(bytes);
    if (!tables) continue;
    out_.tables = std::move(*tables);
    out_.has_tables = true;
  }
  out_.cuts.insert(out_.cuts.end(), out_.tables.epochs.begin(), out_.tables.epochs.end());
  const size_t before = out_.entries.size();
  std::erase_if(out_.entries, [&](const ScannedEntry& scanned) {
    return is_void(out_.cuts, scanned.epoch, scanned.entry.sequence);
  });
  out_.void_entries = before - out_.entries.size();
}

}  // namespace

bool is_void(const std::vector<EpochCut>& cuts, Epoch epoch, Sequence sequence) {
  return std::any_of(cuts.begin(), cuts.end(),
                     [&](const EpochCut& cut) { return cut.epoch >= epoch && sequence > cut.cut; });
}

Task<Result<Scan>> scan_segments(std::vector<Blob*> blobs) {
  Scan scan;
  Scanner scanner(scan);
  for (Blob* blob : blobs) {
    auto task = scanner.blob(*blob);
    LAMINA_CO_TRY(co_await task);
  }
  scanner.finish();
  co_return scan;
}

}  // namespace lamina
