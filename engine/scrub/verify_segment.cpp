// SPDX-License-Identifier: Apache-2.0
#include "engine/scrub/verify_segment.h"

#include <algorithm>
#include <set>
#include <span>
#include <utility>

#include "base/buffer.h"
#include "base/checksum.h"
#include "blobs/frame.h"
#include "engine/frame_reader.h"
#include "engine/pool_state.h"
#include "engine/space/read_summary.h"

namespace lamina {
namespace {

constexpr size_t frames_compared_at_once = 128;

struct Run {
  uint32_t begin = 0, end = 0;  // blocks of the segment
};

class Verifier {
 public:
  Verifier(PoolState& pool, Segment segment, MovePace& pace)
      : pool_(pool), segment_(segment), blob_(pool.space.blob(segment.name.blob)), pace_(pace) {}

  Task<Result<VerifiedSegment>> run() {
    std::vector<Run> runs;
    if (!take_from_memory(runs)) {
      // The log has named it and not begun it: nothing is there, nor is there a summary.
      const auto now = pool_.space.segment(segment_.name.generation);
      if (now && now->use == SegmentUse::open) co_return std::move(out_);
      auto contents = co_await read_contents(pool_, segment_.name.generation);
      if (!contents) {
        // Addresses of frames are denser than blocks; what nobody refers to is of no matter.
        add_bad(0, std::max(segment_.addressed, blob_.segment_blocks()));
        co_return std::move(out_);
      }
      sums_ = std::move(contents->sums);
      runs = payload_of(contents->summary.entries, UINT64_MAX);
      if (!contents->whole) add_untold(runs);
    }
    Task<void> verifying =
        segment_.kind == SegmentClass::frames ? verify_frames(runs) : verify_blocks(runs);
    co_await verifying;
    co_return std::move(out_);
  }

 private:
  // Of the log: what lies between the records that are left. Nobody refers to their headers.
  void add_untold(const std::vector<Run>& runs) {
    uint32_t at = 0;
    for (const Run& run : runs) {
      if (at < run.begin) add_bad(at, run.begin - at);
      at = run.end;
    }
    if (at < segment_.used_blocks) add_bad(at, segment_.used_blocks - at);
  }

  // What is in memory has no summary yet.
  bool take_from_memory(std::vector<Run>& runs) {
    const Sequence durable = pool_.newest_image()->cut;
    const auto tail = pool_.log.tail().find(segment_.name.generation);
    if (!tail) return false;
    Lock order(pool_.log.order());
    sums_ = *tail->sums;
    runs = payload_of(tail->entries, durable);
    return true;
  }

  // Where there is payload of entries up to that one, in order; what touches is one.
  static std::vector<Run> payload_of(const std::vector<Entry>& entries, Sequence last) {
    std::vector<Run> runs;
    for (const Entry& entry : entries)
      if (entry.kind == EntryKind::write && entry.sequence <= last)
        runs.push_back({entry.offset, entry.offset + static_cast<uint32_t>(entry.length.value)});
    std::ranges::sort(runs, {}, &Run::begin);
    std::vector<Run> joined;
    for (const Run& run : runs)
      if (!joined.empty() && run.begin <= joined.back().end)
        joined.back().end = std::max(joined.back().end, run.end);
      else
        joined.push_back(run);
    return joined;
  }

  // Headers of records lie between, and are read with the rest.
  Task<void> verify_blocks(const std::vector<Run>& runs) {
    const uint32_t end = runs.empty() ? 0 : runs.back().end;
    for (uint32_t at = runs.empty() ? 0 : runs.front().begin; at < end;) {
      const auto most = static_cast<uint32_t>(pace_.window() / block_size);
      const Run window{at, std::min(end, at + most)};
      Task<void> verifying = verify_window(runs, window);
      co_await verifying;
      if (pace_.due()) co_await pace_.rest();
      at = window.end;
    }
  }

  Task<void> verify_window(std::span<const Run> runs, Run window) {
    Buffer memory(uint64_t{window.end - window.begin} * block_size);
    IoBatch batch;
    batch.read(blob_.disk(), blob_.offset(segment_.name.index, window.begin), memory.span());
    co_await batch;
    auto run = std::ranges::upper_bound(runs, window.begin, {}, &Run::end);
    for (; run != runs.end() && run->begin < window.end; ++run) {
      const Run part{std::max(run->begin, window.begin), std::min(run->end, window.end)};
      for (uint32_t at = part.begin; at < part.end; ++at) {
        const std::span<std::byte> block = memory.blocks(at - window.begin, 1);
        out_.bytes += block_size;
        if (batch.ok() && matches(at, block)) continue;
        IoBatch alone;
        alone.read(blob_.disk(), blob_.offset(segment_.name.index, at), block);
        co_await alone;
        if (!alone.ok() || !matches(at, block)) add_bad(at, 1);
      }
    }
    pace_.note_read(memory.size());
  }

  bool matches(uint32_t at, std::span<const std::byte> block) const {
    return payload_checksum(block) == sums_[at];
  }

  Task<void> verify_frames(const std::vector<Run>& runs) {
    std::set<uint32_t> numbers;
    for (const Run& run : runs)
      for (uint32_t frame = run.begin / frame_blocks; frame * frame_blocks < run.end; ++frame)
        numbers.insert(frame);
    const std::vector<uint32_t> frames(numbers.begin(), numbers.end());
    for (size_t begin = 0; begin < frames.size(); begin += frames_compared_at_once) {
      const auto now = std::span(frames).subspan(
          begin, std::min(frames_compared_at_once, frames.size() - begin));
      std::vector<uint32_t> bad;
      Task<void> verifying = verify_some(now, bad);
      co_await verifying;
      for (const uint32_t frame : bad) {
        std::vector<uint32_t> again;
        const std::span<const uint32_t> one(&frame, 1);
        Task<void> once_more = verify_some(one, again);
        co_await once_more;
        if (!again.empty()) add_bad(frame * frame_blocks, frame_blocks);
      }
      if (pace_.due()) co_await pace_.rest();
    }
  }

  Task<void> verify_some(std::span<const uint32_t> frames, std::vector<uint32_t>& bad) {
    FrameReader reader;
    for (const uint32_t frame : frames) reader.want_packed(segment_.name.generation, frame);
    Task<Result<>> reading = reader.read(pool_, false);
    const Result<> read = co_await reading;
    for (const uint32_t frame : frames) {
      const FrameReader::Packed* packed =
          read ? reader.packed(segment_.name.generation, frame) : nullptr;
      if (!packed) {
        bad.push_back(frame);
        continue;
      }
      out_.bytes += packed->bytes.size();
      pace_.note_read(packed->bytes.size());
    }
  }

  void add_bad(uint32_t block, uint32_t blocks) {
    if (!out_.bad.empty() && out_.bad.back().from.block + out_.bad.back().blocks == block)
      out_.bad.back().blocks += blocks;
    else
      out_.bad.push_back({{segment_.name.generation, block}, blocks, 0});
  }

  PoolState& pool_;
  const Segment segment_;
  Blob& blob_;
  MovePace& pace_;
  std::vector<uint32_t> sums_;
  VerifiedSegment out_;
};

bool is_there(const std::optional<Segment>& segment) {
  return segment && is_written(*segment);
}

}  // namespace

bool is_written(const Segment& segment) {
  return segment.is_filled() || (segment.use == SegmentUse::open && segment.kind == SegmentClass::log);
}

Task<Result<VerifiedSegment>> verify_segment(PoolState& pool, Generation generation,
                                             MovePace& pace) {
  const auto segment = pool.space.segment(generation);
  if (!is_there(segment)) co_return fail(Code::not_found, "the segment is gone");
  Verifier verifier(pool, *segment, pace);
  Task<Result<VerifiedSegment>> verifying = verifier.run();
  auto verified = co_await verifying;
  // What was stamped or discarded meanwhile was not what was looked for.
  if (!is_there(pool.space.segment(generation)))
    co_return fail(Code::not_found, "the segment is gone");
  co_return verified;
}

}  // namespace lamina
