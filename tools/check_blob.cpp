// SPDX-License-Identifier: Apache-2.0
#include "tools/check_blob.h"

#include <algorithm>
#include <iterator>
#include <span>

#include "base/buffer.h"
#include "base/lanes.h"
#include "blobs/layout.h"
#include "blobs/segment.h"
#include "tools/check_sealed.h"

namespace lamina {
namespace {

std::string at(const Blob& blob, uint64_t offset) {
  return blob.disk().name() + "@" + std::to_string(offset);
}

// What a place for a slot holds.
struct SlotCopy {
  uint64_t offset = 0;
  bool read = true;
  bool torn = false;     // perhaps, by a crash
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
    copy.read = false;
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

// Whether the header can be of a segment of this pool at this place (B7).
bool is_ours(const SegmentHeader& header, const Blob& blob, uint32_t index) {
  return header.pool == blob.superblock().pool && header.secret == blob.superblock().secret &&
         header.blob == blob.id() && header.index == index;
}

constexpr size_t segment_lanes = 16;

struct OneSegment {
  std::optional<SegmentHeader> header;
  CheckReport found;  // its findings
};

Task<void> check_segment(Blob& blob, uint32_t index, const KnownSegments& known, OneSegment& out) {
  Buffer block(block_size);
  Task<Result<>> reading = read_blocks(blob, blob.offset(index, 0), block.span());
  const Result<> read = co_await reading;
  if (!read) {
    out.found.findings.push_back({"B7", at(blob, blob.offset(index, 0)), read.error().message});
    co_return;
  }
  const auto header = unpack_segment_header(block.span());
  if (!header || !is_ours(*header, blob, index)) {
    if (known.kept.contains(place_of(blob.id(), index)))
      out.found.findings.push_back(
          {"B7", at(blob, blob.offset(index, 0)),
           "the header of a segment that is in use: " +
               (header ? "it is another segment's" : header.error().message)});
    co_return;
  }
  out.header = *header;
  if (header->state == SegmentState::retired || !known.sealed.contains(raw(header->generation)))
    co_return;
  Task<void> checking = check_sealed(blob, index, *header, out.found);
  co_await checking;
}

}  // namespace

Task<Result<>> read_blocks(Blob& blob, uint64_t offset, std::span<std::byte> into) {
  IoBatch batch;
  batch.read(blob.disk(), offset, into);
  co_await batch;
  co_return batch.result();
}

Task<void> check_superblocks(Blob& blob, CheckReport& report) {
  Task<Result<Blob::Found>> finding = Blob::find(blob.disk());
  const auto found = co_await finding;
  if (found && found->damaged > 0)
    report.findings.push_back({"A13", blob.disk().name(),
                               std::to_string(found->damaged) + " of " +
                                   std::to_string(superblock_copies) +
                                   " superblock copies are damaged; a good one serves"});
}

Task<std::optional<Slot>> check_slots(Blob& blob, const std::set<uint64_t>& torn,
                                      CheckReport& report) {
  std::vector<SlotCopy> copies;
  for (CheckpointNumber number = 0; number < slot_ring_length; ++number) {
    for (const uint64_t offset : blob.slot_offsets(number)) {
      Task<SlotCopy> reading = read_slot(blob, offset);
      copies.push_back(co_await reading);
      copies.back().torn = copies.back().read && torn.contains(number);
    }
  }
  std::optional<Slot> newest;
  for (const SlotCopy& copy : copies)
    if (copy.slot && (!newest || copy.slot->number > newest->number)) newest = copy.slot;
  for (const SlotCopy& copy : copies)
    if (copy.written && !copy.slot && !copy.torn)
      report.findings.push_back({"A13", at(blob, copy.offset), "checkpoint slot: " + copy.why_not});
  if (!newest) {
    report.findings.push_back({"A13", blob.disk().name(), "no checkpoint slot is good"});
    co_return newest;
  }
  // The two newest are those that a pool is opened from.
  std::optional<CheckpointNumber> older;
  for (const SlotCopy& copy : copies)
    if (copy.slot && copy.slot->number < newest->number)
      older = std::max(older.value_or(0), copy.slot->number);
  for (const CheckpointNumber number : {newest->number, older.value_or(newest->number)}) {
    const auto present = std::count_if(copies.begin(), copies.end(), [&](const SlotCopy& copy) {
      return copy.slot && copy.slot->number == number;
    });
    if (present < 2 && !torn.contains(number % slot_ring_length))
      report.findings.push_back(
          {"A13", blob.disk().name(),
           "checkpoint " + std::to_string(number) + " has only one of its two slots"});
    if (!older) break;
  }
  co_return newest;
}

Task<void> check_segments(Blob& blob, const KnownSegments& known, const CheckOptions& options,
                          SegmentIndex& segments, CheckReport& report) {
  // Each by itself, several at a time; what they found is put together in their order.
  std::vector<OneSegment> all(blob.segment_count());
  uint32_t done = 0;
  Task<void> checking = in_lanes(all.size(), segment_lanes, [&](size_t i) -> Task<void> {
    options.progress("segments of " + blob.disk().name(), done, all.size());
    Task<void> one = check_segment(blob, static_cast<uint32_t>(i), known, all[i]);
    co_await one;
    ++done;
  });
  co_await checking;
  for (uint32_t index = 0; index < all.size(); ++index) {
    OneSegment& one = all[index];
    if (one.header) {
      if (one.header->state != SegmentState::retired) ++report.segments;
      const bool frames = one.header->kind == SegmentClass::frames;
      const SegmentPlace place{blob.id(), index, one.header->blocks * (frames ? virtual_ratio : 1),
                               one.header->state};
      if (!segments.emplace(raw(one.header->generation), place).second)
        report.findings.push_back({"A3", at(blob, blob.offset(index, 0)),
                                   "generation " + std::to_string(raw(one.header->generation)) +
                                       " is the name of two segments"});
    }
    std::ranges::move(one.found.findings, std::back_inserter(report.findings));
  }
}

}  // namespace lamina
