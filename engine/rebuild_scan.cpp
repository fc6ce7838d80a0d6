// SPDX-License-Identifier: Apache-2.0
#include "engine/rebuild_scan.h"

#include <algorithm>
#include <cstring>
#include <tuple>
#include <utility>

#include "base/buffer.h"
#include "base/endian.h"
#include "engine/log/seal.h"
#include "engine/lost_header.h"
#include "engine/missing_disk.h"
#include "engine/rebuild_scanner.h"
#include "engine/slots.h"
#include "engine/space/array_again.h"

namespace lamina {

Task<Result<>> Scanner::read(ScannedSegment& segment, uint32_t block, std::span<std::byte> into) {
  IoBatch batch;
  batch.read(segment.blob->disk(), segment.blob->offset(segment.header.index, block), into);
  co_await batch;
  co_return batch.result();
}

Task<Result<>> Scanner::blob(Blob& blob) {
  auto slots_task = slots(blob);
  LAMINA_CO_TRY(co_await slots_task);
  auto marks_task = read_log_marks(blob);
  for (const LogMark& mark : co_await marks_task) marks_.push_back(mark);
  for (uint32_t index = 0; index < blob.segment_count(); ++index) {
    ScannedSegment segment;
    segment.blob = &blob;
    segment.header.index = index;
    Buffer block(block_size);
    auto read_task = read(segment, 0, block.span());
    LAMINA_CO_TRY(co_await read_task);
    auto header = unpack_segment_header(block.span());
    const bool lost = !header;
    if (lost) {
      auto telling = header_from_contents(blob, index, newest_slot());
      header = co_await telling;
      const bool blank = all_zero(block.span());
      if (blank) out_.blank.emplace(blob.id(), index);
      if (!header && !blank) out_.headerless.push_back({blob.id(), index, Generation::none});
    }
    if (!header || header->pool != blob.superblock().pool || header->blob != blob.id() ||
        header->index != index || header->blocks != blob.segment_blocks())
      continue;
    out_.epoch = std::max(out_.epoch, header->epoch);
    note_generation(header->generation);
    if (visit_ && !lost) {
      auto remains_task = visit_remains(blob, *header);
      LAMINA_CO_TRY(co_await remains_task);
    }
    if (header->state == SegmentState::retired) {
      out_.stamped.push_back({header->blob, header->index, header->generation});
      continue;
    }
    auto found_task = found(blob, *header, lost);
    LAMINA_CO_TRY(co_await found_task);
  }
  co_return Result<>{};
}

Task<Result<>> Scanner::found(Blob& blob, SegmentHeader header, bool lost) {
  ScannedSegment segment;
  segment.blob = &blob;
  segment.header_lost = lost;
  segment.header = header;
  segment.sums.resize(header.blocks);
  segment.summed.resize(header.blocks);
  out_.by_generation[header.generation] = out_.segments.size();
  out_.segments.push_back(std::move(segment));
  auto segment_task = this->segment(out_.segments.size() - 1);
  LAMINA_CO_TRY(co_await segment_task);
  if (visit_) LAMINA_CO_TRY(visit_newest());
  co_return Result<>{};
}

// What would be believed without that header, where its segment has not overwritten what was there
// before, or is dead itself.
Task<Result<>> Scanner::visit_remains(Blob& blob, SegmentHeader header) {
  const bool stamped = header.state == SegmentState::retired;
  if (header.state == SegmentState::sealed && header.kind != SegmentClass::nodes)
    co_return Result<>{};
  auto telling = header_from_contents(blob, header.index, newest_slot());
  const Result<SegmentHeader> told = co_await telling;
  if (!told && told.error().code == Code::not_found) co_return Result<>{};
  if (!told) co_return std::unexpected<Error>(told.error());
  if (!stamped && told->generation == header.generation) co_return Result<>{};
  auto found_task = found(blob, *told, true);
  co_return co_await found_task;
}

// Hands over what has been found of the one segment, and forgets it.
Result<> Scanner::visit_newest() {
  const ScannedSegment& segment = out_.segments.back();
  VisitedSegment visited;
  visited.name = {segment.header.blob, segment.header.index, segment.header.generation};
  visited.kind = segment.header.kind;
  visited.told = (segment.told || segment.by_records) && segment.gap.last == 0 &&
                 out_.untold.empty() && out_.torn.empty();
  if (!segment.told) visited.records_end = segment.records_end;
  visited.entries = std::exchange(out_.entries, {});
  out_ = Scan{};
  streams_.clear();
  return visit_(visited);
}

// For the cuts that they repeat: whether a slot is the newest does not matter for that.
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
      if (!newest_slot_ || slot->number > newest_slot_->number) newest_slot_ = *slot;
      out_.epoch = std::max(out_.epoch, slot->epoch);
      out_.durable = std::max({out_.durable, slot->cut, slot->durable_through});
      out_.checkpoint = std::max(out_.checkpoint, slot->number);
      out_.committed = std::max(out_.committed, slot->number);
      out_.next_generation = std::max(out_.next_generation, slot->generation_mark);
      out_.cuts.insert(out_.cuts.end(), slot->recent_cuts.begin(), slot->recent_cuts.end());
    }
  }
  co_return Result<>{};
}

Task<Result<>> Scanner::segment(size_t index) {
  const SegmentClass kind = out_.segments[index].header.kind;
  if (kind == SegmentClass::nodes) {
    if (visit_) co_return Result<>{};
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
  if (!known && kind != SegmentClass::log) {
    auto front = summary(index, false);
    const Result<bool> from_front = co_await front;
    if (!from_front) co_return fail(from_front.error().code, from_front.error().message);
    const SegmentHeader& header = out_.segments[index].header;
    known = *from_front;
    if (!known && header.state == SegmentState::sealed)
      out_.untold.push_back({header.blob, header.index, header.generation});
  }
  out_.segments[index].told = known;
  if (known && out_.segments[index].header_lost) complete_header(index);
  if (kind != SegmentClass::log) co_return Result<>{};
  auto of_log = log_segment(index);
  co_return co_await of_log;
}

// Where its payload ends, from what lies in it.
void Scanner::complete_header(size_t index) {
  ScannedSegment& segment = out_.segments[index];
  SegmentHeader& header = segment.header;
  uint32_t end = header.kind == SegmentClass::frames
                     ? 0  // of addresses
                     : payload_begin(header.kind, header.blocks, header.front_blocks);
  for (const ScannedEntry& scanned : out_.entries)
    if (scanned.segment == index && has_payload(scanned.entry))
      end = std::max(end, scanned.entry.offset + static_cast<uint32_t>(scanned.entry.length.value));
  header.used_end = end;
  if (header.kind != SegmentClass::frames) return;
  header.addressed = end;
  if (!segment.summed.front()) {
    header.used_end = header.blocks;
    return;
  }
  const uint32_t last = *std::ranges::max_element(segment.sums);
  header.used_end = static_cast<uint32_t>(div_up(uint64_t{last} * frame_grain, block_size));
}

// True: the summary at that end is good. Its entries have been taken, and the checksums that it
// vouches for, if they are good, or can be made again: without them what lies there cannot be read,
// but what it is is known.
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
  auto sums_task = sums(segment, *summary);
  LAMINA_CO_TRY(co_await sums_task);
  for (const Entry& entry : summary->entries) take(entry, index);
  if (segment.header.kind == SegmentClass::log && lacks_entries(*summary))
    out_.torn.push_back({segment.header.blob, segment.header.index, segment.header.generation});
  co_return true;
}

Task<Result<>> Scanner::sums(ScannedSegment& segment, const Summary& summary) {
  const SegmentHeader& header = segment.header;
  const uint32_t count = array_blocks(header.kind, header.blocks);
  Buffer blocks(uint64_t{count} * block_size), good;
  segment.bad_arrays.clear();
  for (const uint32_t at : array_places(summary)) {
    if (at + count > header.blocks) continue;
    auto task = read(segment, at, blocks.span());
    LAMINA_CO_TRY(co_await task);
    if (plain_checksum(blocks.span()) != summary.checksums_sum)
      segment.bad_arrays.insert(at);
    else if (!good)
      good = std::exchange(blocks, Buffer(blocks.size()));
  }
  if (!good) {
    if (header.kind == SegmentClass::log) co_return Result<>{};  // its records say them
    Buffer all(segment.blob->segment_bytes());
    LAMINA_CO_TRY(co_await segment.blob->read_segment(header.index, all.span()));
    auto array = array_again(header.kind, all.span(), header.secret, place(segment, 0), summary);
    if (!array) co_return Result<>{};
    good = std::move(*array);
  }
  const size_t words = std::min(segment.sums.size(), good.size() / sizeof(le32));
  for (size_t i = 0; i < words; ++i) {
    le32 value;
    std::memcpy(value.bytes.data(), good.data() + i * sizeof value, sizeof value);
    segment.sums[i] = value.load();
    segment.summed[i] = true;
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
    out_.checkpoint = std::max(out_.checkpoint, page->number);
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

void Scanner::choose_tables() {
  out_.tables = {};
  out_.has_tables = false;
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
}

// What the tables do not have, and no record that is left.
void Scanner::take_repeated() {
  std::set<Sequence> known;
  for (const ScannedEntry& scanned : out_.entries)
    if (scanned.entry.sequence > out_.tables.cut && out_.is_of_log(scanned))
      known.insert(scanned.entry.sequence);
  for (const LogMark& mark : marks_)
    for (const Entry& entry : mark.repeated)
      if (entry.sequence > out_.tables.cut && !is_void(out_.cuts, mark.epoch, entry.sequence) &&
          known.insert(entry.sequence).second)
        out_.entries.push_back({entry, mark.epoch, ScannedEntry::nowhere});
}

void Scanner::finish() {
  choose_tables();  // a cut may have been found since that makes some void
  if (out_.has_tables) {
    out_.durable = std::max(out_.durable, out_.tables.cut);
    note_generation(out_.tables.next_generation);
  }
  out_.clean = newest_slot_ && newest_slot_->clean && newest_slot_->number == out_.tables.number;
  out_.cuts.insert(out_.cuts.end(), out_.tables.epochs.begin(), out_.tables.epochs.end());
  for (const LogMark& mark : marks_) {  // like what a slot says, it may have been cut since
    if (is_void(out_.cuts, mark.epoch, mark.durable_through)) continue;
    out_.durable = std::max(out_.durable, mark.durable_through);
    out_.marked = out_.marked || mark.epoch == out_.epoch;
  }
  find_torn();
  const size_t before = out_.entries.size();
  std::erase_if(out_.entries, [&](const ScannedEntry& scanned) {
    return is_void(out_.cuts, scanned.epoch, scanned.entry.sequence);
  });
  out_.void_entries = before - out_.entries.size();
  take_repeated();
}

namespace {

auto rank(const Scan& scan, const ScannedEntry& scanned) {
  const Entry& entry = scanned.entry;
  const bool there = entry.kind != EntryKind::alias || is_origin(entry.address) ||
                     scan.by_generation.contains(entry.address.generation);
  const bool finished = scan.is_of_log(scanned) ||
                        scan.segments[scanned.segment].header.state == SegmentState::sealed;
  return std::tuple(entry.sequence, there, finished, scan.generation_of(scanned));
}

}  // namespace

bool before(const Scan& scan, const ScannedEntry& a, const ScannedEntry& b) {
  return rank(scan, a) < rank(scan, b);
}

bool is_void(const std::vector<EpochCut>& cuts, Epoch epoch, Sequence sequence) {
  return std::any_of(cuts.begin(), cuts.end(),
                     [&](const EpochCut& cut) { return cut.epoch >= epoch && sequence > cut.cut; });
}

Task<Result<Scan>> scan_segments(std::vector<Blob*> blobs) {
  Scan scan;
  Scanner scanner(scan);
  std::erase_if(blobs, [](const Blob* blob) { return is_missing(blob->disk()); });
  scan.blobs = blobs;
  for (Blob* blob : blobs) {
    auto task = scanner.blob(*blob);
    LAMINA_CO_TRY(co_await task);
  }
  scanner.choose_tables();
  auto asking = scanner.ask_records();
  LAMINA_CO_TRY(co_await asking);
  auto newest = scanner.newest_records();
  LAMINA_CO_TRY(co_await newest);
  scanner.finish();
  co_return scan;
}

Task<Result<>> visit_segments(std::vector<Blob*> blobs,
                              std::function<Result<>(const VisitedSegment&)> each) {
  Scan scan;
  Scanner scanner(scan, std::move(each));
  for (Blob* blob : blobs) {
    auto task = scanner.blob(*blob);
    LAMINA_CO_TRY(co_await task);
  }
  co_return Result<>{};
}

}  // namespace lamina
