// SPDX-License-Identifier: Apache-2.0
#include "tools/check_blob.h"

#include <algorithm>
#include <set>
#include <span>

#include "base/buffer.h"
#include "blobs/frame.h"
#include "blobs/layout.h"
#include "blobs/segment.h"
#include "blobs/summary.h"
#include "engine/frame_search.h"

namespace lamina {
namespace {

std::string at(const Blob& blob, uint64_t offset) {
  return blob.disk().name() + "@" + std::to_string(offset);
}

// Whole blocks at an offset; nothing where the disk fails, which is then reported.
Task<Result<>> read_blocks(Blob& blob, uint64_t offset, std::span<std::byte> into) {
  IoBatch batch;
  batch.read(blob.disk(), offset, into);
  co_await batch;
  co_return batch.result();
}

// What a place for a slot holds.
struct SlotCopy {
  uint64_t offset = 0;
  bool written = false;  // anything but zeroes
  std::optional<Slot> slot;
  std::string why_not;
};

Task<SlotCopy> read_slot(Blob& blob, uint64_t offset) {
  SlotCopy copy;
  copy.offset = offset;
  Buffer block(block_size);
  Task<Result<>> reading = read_blocks(blob, offset, block.span());
  const Result<> read = co_await reading;
  if (!read) {
    copy.written = true;
    copy.why_not = read.error().message;
    co_return copy;
  }
  copy.written = !all_zero(block.span());
  if (!copy.written) co_return copy;
  auto slot = unpack_slot(block.span(), blob.superblock().secret, blob.id(),
                          static_cast<uint32_t>(offset / block_size));
  if (slot)
    copy.slot = std::move(*slot);
  else
    copy.why_not = slot.error().message;
  co_return copy;
}

// One sealed segment, whose header has been read.
class SegmentCheck {
 public:
  SegmentCheck(Blob& blob, uint32_t index, const SegmentHeader& header, CheckReport& report)
      : blob_(blob), index_(index), header_(header), report_(report) {}

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

 private:
  const Secret& secret() const { return blob_.superblock().secret; }
  MetadataPlace place(uint32_t block) const {
    return {blob_.id(), index_, header_.generation, block};
  }
  void damaged(const char* rule, uint32_t block, const std::string& what) {
    report_.findings.push_back({rule,
                                at(blob_, blob_.offset(index_, block)) + " (segment " +
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
    Task<Result<>> reading = read_blocks(blob_, blob_.offset(index_, 1), blocks.span());
    const Result<> read = co_await reading;
    const bool frames = header_.kind == SegmentClass::frames;
    if (!read && !frames) co_return damaged("B6", 1, read.error().message);
    if (read && plain_checksum(blocks.span()) == summary.checksums_sum) co_return;
    if (!frames)
      co_return damaged("B6", 1,
                        "the payload checksums are not those that the summary vouches for");
    Task<void> searching = search_frames(summary, read ? "damaged" : read.error().message);
    co_await searching;
  }

  // What the index of the frames should have said, they say themselves.
  Task<void> search_frames(const Summary& summary, std::string why) {
    std::set<uint32_t> wanted;
    for (const Entry& entry : summary.entries)
      if (entry.kind == EntryKind::write)
        for (uint64_t at = entry.offset; at < entry.offset + entry.length.value; ++at)
          wanted.insert(static_cast<uint32_t>(at / frame_blocks));
    Task<Result<std::vector<uint32_t>>> finding = find_frames(blob_, place(0), secret());
    const auto words = co_await finding;
    size_t found = 0;
    for (const uint32_t frame : wanted)
      if (words && frame < words->size() && (*words)[frame] != 0) ++found;
    damaged("B4", 1,
            "frame index: " + why + "; " + std::to_string(found) + " of " +
                std::to_string(wanted.size()) + " frames are found by what they say themselves" +
                (found == wanted.size() ? ", so nothing is lost" : ""));
  }

  Blob& blob_;
  const uint32_t index_;
  const SegmentHeader& header_;
  CheckReport& report_;
};

// Whether the header can be of a segment of this pool at this place (B7).
bool is_ours(const SegmentHeader& header, const Blob& blob, uint32_t index) {
  return header.pool == blob.superblock().pool && header.secret == blob.superblock().secret &&
         header.blob == blob.id() && header.index == index;
}

// Only of what the newest checkpoint has flushed is it known that header and summary are both on
// the medium; what was sealed after it may have lost either in a crash, which is no damage.
bool summary_must_be_there(const SegmentHeader& header, const Slot& newest) {
  if (header.state != SegmentState::sealed) return false;
  if (newest.clean) return true;
  return header.kind == SegmentClass::log &&
         raw(header.generation) < raw(newest.log_segment.generation);
}

}  // namespace

Task<void> check_superblocks(Blob& blob, CheckReport& report) {
  Task<Result<Blob::Found>> finding = Blob::find(blob.disk());
  const auto found = co_await finding;
  if (found && found->damaged > 0)
    report.findings.push_back({"A13", blob.disk().name(),
                               std::to_string(found->damaged) + " of " +
                                   std::to_string(superblock_copies) +
                                   " superblock copies are damaged; a good one serves"});
}

Task<std::optional<Slot>> check_slots(Blob& blob, CheckReport& report) {
  std::vector<SlotCopy> copies;
  for (CheckpointNumber number = 0; number < slot_ring_length; ++number) {
    for (const uint64_t offset : blob.slot_offsets(number)) {
      Task<SlotCopy> reading = read_slot(blob, offset);
      copies.push_back(co_await reading);
    }
  }
  std::optional<Slot> newest;
  for (const SlotCopy& copy : copies)
    if (copy.slot && (!newest || copy.slot->number > newest->number)) newest = copy.slot;
  for (const SlotCopy& copy : copies)
    if (copy.written && !copy.slot)
      report.findings.push_back({"A13", at(blob, copy.offset), "checkpoint slot: " + copy.why_not});
  if (!newest) {
    report.findings.push_back({"A13", blob.disk().name(), "no checkpoint slot is good"});
    co_return newest;
  }
  const auto present = std::count_if(copies.begin(), copies.end(), [&](const SlotCopy& copy) {
    return copy.slot && copy.slot->number == newest->number;
  });
  if (present < 2)
    report.findings.push_back(
        {"A13", blob.disk().name(),
         "checkpoint " + std::to_string(newest->number) + " has only one of its two slots"});
  co_return newest;
}

Task<void> check_segments(Blob& blob, const Slot& newest, const CheckOptions& options,
                          SegmentIndex& segments, CheckReport& report) {
  Buffer block(block_size);
  for (uint32_t index = 0; index < blob.segment_count(); ++index) {
    options.progress("segments of " + blob.disk().name(), index, blob.segment_count());
    Task<Result<>> reading = read_blocks(blob, blob.offset(index, 0), block.span());
    const Result<> read = co_await reading;
    if (!read) {
      report.findings.push_back({"B7", at(blob, blob.offset(index, 0)), read.error().message});
      continue;
    }
    // What does not decode is free, or the engine's business: it knows which must be there.
    const auto header = unpack_segment_header(block.span());
    if (!header || !is_ours(*header, blob, index)) continue;
    ++report.segments;
    const bool frames = header->kind == SegmentClass::frames;
    const SegmentPlace place{blob.id(), index, header->blocks * (frames ? virtual_ratio : 1),
                             header->state};
    if (!segments.emplace(raw(header->generation), place).second)
      report.findings.push_back({"A3", at(blob, blob.offset(index, 0)),
                                 "generation " + std::to_string(raw(header->generation)) +
                                     " is the name of two segments"});
    if (!summary_must_be_there(*header, newest)) continue;
    SegmentCheck segment(blob, index, *header, report);
    Task<void> checking = segment.check_back();
    co_await checking;
  }
}

}  // namespace lamina
