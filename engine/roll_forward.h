// SPDX-License-Identifier: Apache-2.0
// Follows the log from a checkpoint's cut to its end and hands over its entries in order.
// Reads only. recovery.h says what is believed and why.
// Thread-safety: one coroutine. Memory: the segments above durable-through, a few at a time.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/task.h"
#include "blobs/slot.h"
#include "engine/log/log.h"
#include "engine/log/tail.h"

namespace lamina {

class RollForward {
 public:
  RollForward(Blobs blobs, const Secret& secret, const Slot& slot);

  // Entry, generation of its segment, wall clock of its record, payload of it.
  using Apply = std::function<Result<>(const Entry&, Generation, uint64_t wall_ns,
                                       std::span<const std::byte> payload)>;
  // Error corrupt: something that was durable cannot be read, or an entry cannot follow.
  Task<Result<>> run(Apply apply);

  // --- afterwards
  struct End {
    Sequence last = 0;           // the last accepted entry
    uint64_t last_checksum = 0;  // of the last accepted record's header; 0: none
    Epoch epoch = 0;             // the newest that was met
    SegmentChain next{};
    bool nothing_follows = true;  // no record was accepted
  };
  const End& end() const { return end_; }
  // Segments of the chain that hold accepted records, in order; `memory` may be gone, the
  // checksums and entries are complete. The one with the slot's position comes first.
  std::vector<std::shared_ptr<TailSegment>> segments() && { return std::move(segments_); }
  // What was accepted by its payload alone, and lies on the disk as it is in memory. Whether a
  // flush of the life before had failed on it nobody knows, so it is to be written again as it is,
  // before it is flushed and trusted (A19).
  struct Unproven {
    std::shared_ptr<TailSegment> segment;
    uint32_t begin = 0, end = 0;  // blocks
  };
  const std::vector<Unproven>& unproven() const { return unproven_; }
  // (epoch, cut) of the epochs that ended on the way.
  const std::vector<EpochCut>& cuts() const { return cuts_; }
  // The newest checkpoint whose slot is complete, as far as records of the slot's own epoch say.
  CheckpointNumber committed() const { return committed_; }
  uint64_t entries() const { return entries_; }
  uint64_t bytes() const { return bytes_; }

 private:
  struct Pending {
    std::shared_ptr<TailSegment> segment;
    UnpackedRecord record;
  };

  Task<Result<std::shared_ptr<TailSegment>>> load(const SegmentName& name);
  Task<Result<>> enter(const SegmentName& name, uint32_t from_block);
  void skip_to(uint32_t block);
  void collect();
  // Where an epoch begins, and behind which entry.
  struct EpochMark {
    Epoch epoch = 0;
    Sequence cut = 0;
    SegmentName at{};
  };
  Task<Result<bool>> follow_cut();
  Task<Result<bool>> follow_lost_cut();
  std::optional<EpochMark> lost_mark(const TailSegment& segment) const;
  Task<Result<bool>> begin_epoch(EpochMark mark);
  Task<Result<bool>> follow_next();
  Task<Result<bool>> follow_past_a_lost_record();
  bool says_durable(uint32_t at, Sequence entry) const;
  bool knows_more(const TailSegment& segment, uint32_t from_block) const;
  bool knows_more(const TailSegment& segment, uint32_t from_block, Epoch oldest, Epoch newest,
                  Sequence entry) const;
  bool sealed_past(const TailSegment& segment, uint32_t block) const;
  bool salvage();
  bool bridge();
  void take_repeated(const RecordHeader& later);
  Result<> settle(bool at_end);
  Result<> accept(Pending& pending);
  bool only_witnesses(const Pending& pending) const;
  bool payload_matches(const Pending& pending) const;
  Blob* blob(BlobId id) const;

  const Blobs blobs_;
  const Secret& secret_;
  const Slot& slot_;
  Apply apply_;

  std::shared_ptr<TailSegment> current_;
  uint32_t block_ = 0;     // where the next record belongs
  Sequence expected_ = 0;  // its first number
  uint64_t checksum_ = 0;  // of the header before it
  Epoch epoch_ = 0;
  SegmentChain next_{};
  // Neither the header of the cut's segment can be read nor any record before the cut, which were
  // durable: it is no torn tail, nor one damaged block.
  bool cut_segment_gone_ = false;
  bool more_was_durable_ = false;  // than what can be read, says the segment behind it
  bool ended_in_gap_ = false;  // what was read last is the end of a segment by its summary alone
  Sequence unreached_cut_ = 0;   // that a segment says, but what was read does not come to; 0: none
  Sequence durable_ = 0;         // the highest durable-through seen
  std::deque<Pending> pending_;  // read, not accepted yet
  End end_;
  std::vector<std::shared_ptr<TailSegment>> segments_;
  std::vector<EpochCut> cuts_;
  std::vector<Unproven> unproven_;
  CheckpointNumber committed_ = 0;
  uint64_t entries_ = 0, bytes_ = 0;
};

}  // namespace lamina
