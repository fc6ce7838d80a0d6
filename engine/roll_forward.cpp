// SPDX-License-Identifier: Apache-2.0
#include "engine/roll_forward.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "base/check.h"
#include "blobs/fork_list.h"
#include "blobs/segment.h"
#include "engine/log/bridge.h"
#include "engine/log/records.h"
#include "engine/mutation.h"
#include "engine/recovery_counters.h"

namespace lamina {
namespace {

bool named(const SegmentName& name) {
  return name.generation != Generation::none;
}

std::unexpected<Error> cannot_reach(Sequence cut, Sequence last) {
  return fail(Code::corrupt, "the log was cut at entry " + std::to_string(cut) + ", but only " +
                                 std::to_string(last) + " can be read");
}

}  // namespace

RollForward::RollForward(Blobs blobs, const Secret& secret, const Slot& slot)
    : blobs_(std::move(blobs)), secret_(secret), slot_(slot) {}

Blob* RollForward::blob(BlobId id) const {
  for (const auto& b : blobs_)
    if (b->id() == id) return b.get();
  return nullptr;
}

Task<Result<std::shared_ptr<TailSegment>>> RollForward::load(const SegmentName& name) {
  Blob* b = blob(name.blob);
  if (!b || name.index >= b->segment_count())
    co_return fail(Code::corrupt, "the log names a segment that no blob has");
  co_return co_await load_segment(*b, name);
}

// The records of the cut's segment that lie before the cut are in the maps; what they say of the
// segment is still needed, to seal it. Where not even the record behind a lost one is left, and the
// segment was not sealed, its payload has no checksums any more: reads of it say EIO. And the
// summary lacks its numbers, which a repair takes for the sign that something is missing (B2).
void RollForward::skip_to(uint32_t block) {
  const auto all = [](const RecordHeader&) { return true; };
  uint32_t gone = note_records(*current_, secret_, block, all);
  while (current_->next_block < block) {
    const Sequence first = current_->last == 0 ? 0 : current_->last + 1;
    const Gap at{epoch_, current_->next_block, first, block, slot_.cut};
    const auto gap = bridge_gap(*current_, secret_, at);
    if (!gap) break;
    count(RecoveryBranch::gap_bridged);
    note_record(*current_, gap->record);
    gone += note_records(*current_, secret_, block, all);
  }
  if (current_->next_block < block) gone += note_records(*current_, secret_, block, all, true);
  for (uint32_t i = 0; i < gone; ++i) count(RecoveryBranch::lost_below_durable);
  current_->next_block = block;
}

Task<Result<>> RollForward::enter(const SegmentName& name, uint32_t from_block) {
  auto segment = co_await load(name);
  if (!segment) co_return forward_error(segment);
  current_ = std::move(*segment);
  segments_.push_back(current_);
  block_ = current_->next_block;
  if (from_block > block_) {
    skip_to(from_block);
    block_ = from_block;
    cut_segment_gone_ =
        current_->first == 0 && !unpack_segment_header(current_->memory.blocks(0, 1));
  }
  co_return Result<>{};
}

// Takes the headers that follow each other in the current segment.
void RollForward::collect() {
  for (;;) {
    auto record = record_at(*current_, secret_, block_);
    if (!record) {
      if (salvage() || bridge()) continue;
      return;
    }
    const RecordHeader& header = record->header;
    if (header.epoch != epoch_ || header.body.first != expected_) {
      count(RecoveryBranch::stale_record_refused);
      return;
    }
    next_ = header.next;
    if (epoch_ == slot_.epoch) committed_ = std::max(committed_, header.newest_checkpoint);
    if (!mutated(Mutation::ignore_durable_through))
      durable_ = std::max(durable_, header.durable_through);
    expected_ = header.last() + 1;
    checksum_ = record->checksum;
    block_ += 1 + header.payload_blocks();
    ended_in_gap_ = false;
    pending_.push_back({current_, std::move(*record)});
  }
}

// Whether the record at `at` or one that follows it in its segment knows that entry to be durable:
// records that were written together know it of none of each other.
bool RollForward::says_durable(uint32_t at, Sequence entry) const {
  for (auto record = record_at(*current_, secret_, at); record && record->header.epoch == epoch_;
       record = record_at(*current_, secret_, at)) {
    if (record->header.durable_through >= entry) return true;
    at += 1 + record->header.payload_blocks();
  }
  return false;
}

// A header that is gone although a later one says that it was durable: that one repeats its
// entries (B1). What its payload holds is verified by every read.
bool RollForward::salvage() {
  const uint64_t blocks = current_->memory.size() / block_size;
  for (uint32_t at = block_ + 1; at < blocks; ++at) {
    auto later = record_at(*current_, secret_, at);
    if (!later) continue;
    const RecordHeader& header = later->header;
    const bool repeats = header.epoch == epoch_ && header.previous.first == expected_ &&
                         header.previous_at == Address{current_->name.generation, block_};
    if (!repeats || !says_durable(at, expected_)) return false;
    take_repeated(header);
    block_ = at;
    return true;
  }
  return false;
}

// Records that are gone and that none is left to repeat, by what the seal of their segment says of
// them. Not without any of its records, though: where the log goes on behind it, and whether it was
// cut there, those alone say (A3).
bool RollForward::bridge() {
  const Gap at{.epoch = epoch_, .block = block_, .first = expected_};
  auto gap = bridge_gap(*current_, secret_, at);
  if (!gap || (gap->to_the_end && next_.front() == current_->name)) return false;
  count(RecoveryBranch::gap_bridged);
  gap->record.next = next_;
  if (gap->record.wall_ns == 0) gap->record.wall_ns = slot_.wall_ns;
  expected_ = gap->record.last() + 1;
  durable_ = std::max(durable_, gap->record.last());
  block_ = gap->behind;
  ended_in_gap_ = gap->to_the_end;
  pending_.push_back({current_, {std::move(gap->record), 0}});
  return true;
}

// The record before `later` is known by what that one repeats of it.
void RollForward::take_repeated(const RecordHeader& later) {
  count(RecoveryBranch::lost_below_durable);
  if (!mutated(Mutation::ignore_durable_through))
    durable_ = std::max(durable_, later.durable_through);
  UnpackedRecord lost;
  lost.header.epoch = epoch_;
  lost.header.at = later.previous_at;
  lost.header.wall_ns = later.wall_ns;
  lost.header.next = later.next;
  lost.header.body = later.previous;
  lost.checksum = 0;
  expected_ = lost.header.last() + 1;
  pending_.push_back({current_, std::move(lost)});
}

// The last record of an idle log says nothing but that what is before it is durable (B5). Where its
// disk takes no writes it cannot be made durable itself, and need not be.
bool RollForward::only_witnesses(const Pending& pending) const {
  return pending_.size() == 1 && blob(pending.segment->name.blob)->disk().given_up() &&
         std::ranges::all_of(pending.record.header.body.entries,
                             [](const Entry& entry) { return entry.kind == EntryKind::nothing; });
}

bool RollForward::payload_matches(const Pending& pending) const {
  if (mutated(Mutation::skip_checksum)) return true;
  const RecordHeader& header = pending.record.header;
  for (uint32_t i = 0; i < header.payload_blocks(); ++i)
    if (payload_checksum(pending.segment->memory.blocks(header.at.block + 1 + i, 1)) !=
        header.body.checksums[i])
      return false;
  return true;
}

Result<> RollForward::accept(Pending& pending) {
  const RecordHeader& header = pending.record.header;
  note_record(*pending.segment, header);
  for (const Entry& entry : header.body.entries) {
    std::span<std::byte> payload;
    if (has_payload(entry))
      payload = pending.segment->memory.blocks(entry.offset, entry.length.value);
    if (is_fork_list(entry)) {
      const std::span<const uint32_t> sums(header.body.checksums);
      const uint32_t first = entry.offset - header.at.block - 1;
      LAMINA_TRY(mend_fork_list(entry, payload, sums.subspan(first)));
    }
    LAMINA_TRY(apply_(entry, pending.segment->name.generation, header.wall_ns, payload));
    ++entries_;
  }
  bytes_ += (1 + uint64_t{header.payload_blocks()}) * block_size;
  end_.last = header.last();
  end_.last_checksum = pending.record.checksum;
  end_.epoch = header.epoch;
  end_.next = header.next;
  end_.nothing_follows = false;
  return {};
}

// Accepts what is known to be durable; at the end also what follows it, as long as its payload
// matches (A2).
Result<> RollForward::settle(bool at_end) {
  while (!pending_.empty()) {
    Pending& front = pending_.front();
    if (front.record.header.last() > durable_) {
      if (!at_end) return {};
      if (!payload_matches(front) || only_witnesses(front)) {
        count(RecoveryBranch::payload_rejected);
        pending_.clear();
        return {};
      }
      const RecordHeader& header = front.record.header;
      unproven_.push_back(
          {front.segment, header.at.block, header.at.block + 1 + header.payload_blocks()});
    }
    LAMINA_TRY(accept(front));
    auto segment = front.segment;
    pending_.pop_front();
    const bool wanted =
        segment == current_ || at_end || (!pending_.empty() && pending_.front().segment == segment);
    if (!wanted) segment->memory = Buffer();
  }
  return {};
}

// Whether the epoch was cut in the segment that is being read: then one of the segments that it
// names begins a newer epoch and says where: the last one, or, where that one's disk had failed,
// one before it. If several do, all but the newest of them came to nothing.
Task<Result<bool>> RollForward::follow_cut() {
  Buffer blocks(next_.size() * block_size);
  std::array<uint32_t, chain_length> begins{};
  IoBatch batch;
  for (size_t i = 0; i < next_.size(); ++i) {
    Blob* b = blob(next_[i].blob);
    if (!named(next_[i]) || !b || next_[i].index >= b->segment_count()) continue;
    begins[i] = payload_begin(SegmentClass::log, b->segment_blocks(), 0);
    batch.read(b->disk(), b->offset(next_[i].index, begins[i]), blocks.blocks(i, 1));
  }
  co_await batch;
  LAMINA_CO_TRY(batch.result());  // what cannot be read now may be there: no tail is cut for it
  EpochMark newest{epoch_, 0, {}};
  for (size_t i = 0; i < next_.size(); ++i) {
    if (begins[i] == 0) continue;
    const auto mark = unpack_record(blocks.blocks(i, 1), secret_, next_[i], begins[i]);
    if (!mark || !mark->header.starts_epoch || mark->header.epoch <= newest.epoch) continue;
    newest = {mark->header.epoch, mark->header.cut_sequence, next_[i]};
  }
  if (newest.epoch == epoch_) co_return false;
  co_return co_await begin_epoch(newest);
}

// The record that begins an epoch is gone: the one behind it repeats it as anywhere, or the seal of
// its segment tells of it (B1). It begins with the entry behind its cut.
std::optional<RollForward::EpochMark> RollForward::lost_mark(const TailSegment& segment) const {
  const uint64_t blocks = segment.memory.size() / block_size;
  const uint32_t begin = segment.next_block;
  auto later = record_at(segment, secret_, begin);
  for (uint32_t at = begin + 1; at < blocks && !later; ++at)
    later = record_at(segment, secret_, at);
  if (!later || later->header.epoch <= epoch_) return std::nullopt;
  const RecordHeader& header = later->header;
  const bool repeats = !header.previous.entries.empty() &&
                       header.previous_at == Address{segment.name.generation, begin};
  if (repeats && knows_more(segment, begin, header.epoch, header.epoch, header.previous.first))
    return EpochMark{header.epoch, header.previous.first - 1, segment.name};
  const auto gap = bridge_gap(segment, secret_, {.epoch = header.epoch, .block = begin});
  if (!gap) return std::nullopt;
  return EpochMark{header.epoch, gap->record.body.first - 1, segment.name};
}

// As follow_cut(), by what is left of the segment. Only where the log seems to have ended: it reads
// all of those that are named.
Task<Result<bool>> RollForward::follow_lost_cut() {
  EpochMark newest{epoch_, 0, {}};
  for (const SegmentName& name : next_) {
    Blob* b = blob(name.blob);
    if (!named(name) || !b || name.index >= b->segment_count()) continue;
    auto loaded = co_await load(name);
    if (!loaded) co_return forward_error(loaded);
    const TailSegment& segment = **loaded;
    const uint32_t begin = segment.next_block;
    if (record_at(segment, secret_, begin)) continue;  // nothing is gone: follow_cut() has seen it
    const auto mark = lost_mark(segment);
    if (mark && mark->epoch > newest.epoch) newest = *mark;
    // Of one of which nothing tells where it began.
    if (!mark && knows_more(segment, begin, epoch_ + 1, std::numeric_limits<Epoch>::max(), expected_))
      more_was_durable_ = true;
  }
  if (newest.epoch == epoch_) co_return false;
  co_return co_await begin_epoch(newest);
}

Task<Result<bool>> RollForward::begin_epoch(EpochMark mark) {
  const Sequence cut = mark.cut;
  const Sequence read = pending_.empty() ? end_.last : pending_.back().record.header.last();
  if (read < cut) {
    // Segments behind this one name it as well: the cut lies in one of those.
    unreached_cut_ = cut;
    co_return false;
  }
  unreached_cut_ = 0;
  // What was cut then stays cut, what was accepted then is accepted.
  while (!pending_.empty() && pending_.back().record.header.last() > cut) pending_.pop_back();
  const Sequence last = pending_.empty() ? end_.last : pending_.back().record.header.last();
  if (last != cut) co_return cannot_reach(cut, last);
  durable_ = std::max(durable_, cut);
  LAMINA_CO_TRY(settle(false));
  count(RecoveryBranch::cut_record_followed);
  count(RecoveryBranch::second_segment_followed);
  for (Epoch ended = epoch_; ended < mark.epoch; ++ended) cuts_.push_back({ended, cut});
  epoch_ = end_.epoch = mark.epoch;
  expected_ = cut + 1;
  LAMINA_CO_TRY(co_await enter(mark.at, 0));
  co_return true;
}

Task<Result<bool>> RollForward::follow_next() {
  if (!named(next_.front())) co_return false;
  Blob* b = blob(next_.front().blob);
  if (!b || next_.front().index >= b->segment_count()) co_return false;
  const uint32_t begin = payload_begin(SegmentClass::log, b->segment_blocks(), 0);
  Buffer block(block_size);
  IoBatch batch;
  batch.read(b->disk(), b->offset(next_.front().index, begin), block.span());
  co_await batch;
  LAMINA_CO_TRY(batch.result());
  auto first = unpack_record(block.span(), secret_, next_.front(), begin);
  if (!first) co_return co_await follow_past_a_lost_record();
  const RecordHeader& header = first->header;
  if (header.epoch != epoch_) co_return false;
  // The last record of a segment is repeated by the first of the next (B1).
  if (current_ && header.previous.first == expected_ && !header.previous.entries.empty() &&
      header.previous_at == Address{current_->name.generation, block_} &&
      header.durable_through >= expected_)
    take_repeated(header);
  if (header.body.first != expected_) co_return co_await follow_past_a_lost_record();
  count(RecoveryBranch::next_segment_followed);
  const SegmentName name = next_.front();
  LAMINA_CO_TRY(co_await enter(name, 0));
  co_return true;
}

// The next segment does not begin with the record that follows: the log has ended, or that one is
// gone, and the one behind it repeats it as anywhere (B1).
Task<Result<bool>> RollForward::follow_past_a_lost_record() {
  auto segment = co_await load(next_.front());
  if (!segment) co_return forward_error(segment);
  const auto before = std::exchange(current_, *segment);
  const uint32_t block = std::exchange(block_, current_->next_block);
  if (salvage() || bridge()) {
    segments_.push_back(current_);
    count(RecoveryBranch::next_segment_followed);
    co_return true;
  }
  more_was_durable_ = knows_more(*current_, block_) || sealed_past(*current_, block_);
  current_ = before;
  block_ = block;
  co_return false;
}

// Whether a record there says that what cannot be found was durable: then something is damaged, and
// what was read is no end of the log that there ever was.
bool RollForward::knows_more(const TailSegment& segment, uint32_t from_block) const {
  return knows_more(segment, from_block, epoch_, epoch_, expected_);
}

// The same of those epochs and that entry.
bool RollForward::knows_more(const TailSegment& segment, uint32_t from_block, Epoch oldest,
                             Epoch newest, Sequence entry) const {
  const auto blocks = static_cast<uint32_t>(segment.memory.size() / block_size);
  for (uint32_t at = from_block; at < blocks; ++at) {
    const auto record = record_at(segment, secret_, at);
    if (record && record->header.epoch >= oldest && record->header.epoch <= newest &&
        record->header.durable_through >= entry)
      return true;
  }
  return false;
}

// Whether its header says that it has been sealed, which it is when all of it is durable, and that
// its records go on at `block`.
bool RollForward::sealed_past(const TailSegment& segment, uint32_t block) const {
  const auto header = unpack_segment_header(segment.memory.blocks(0, 1));
  return header && header->generation == segment.name.generation && header->epoch == epoch_ &&
         header->state == SegmentState::sealed && header->used_end > block;
}

Task<Result<>> RollForward::run(Apply apply) {
  apply_ = std::move(apply);
  end_.last = slot_.cut;
  end_.last_checksum = slot_.last_checksum;
  end_.epoch = epoch_ = slot_.epoch;
  end_.next = next_ = slot_.log_next;
  expected_ = slot_.cut + 1;
  checksum_ = slot_.last_checksum;
  durable_ = slot_.cut;
  if (named(slot_.log_segment)) LAMINA_CO_TRY(co_await enter(slot_.log_segment, slot_.log_block));
  for (;;) {
    if (current_) collect();
    LAMINA_CO_TRY(settle(false));
    auto cut = co_await follow_cut();
    if (!cut) co_return forward_error(cut);
    if (*cut) continue;
    auto next = co_await follow_next();
    if (!next) co_return forward_error(next);
    if (*next) continue;
    auto lost = co_await follow_lost_cut();
    if (!lost) co_return forward_error(lost);
    if (!*lost) break;
  }
  if (unreached_cut_ > 0) co_return cannot_reach(unreached_cut_, end_.last);
  // Behind a gap that reaches the end of its segment the log may have gone on (B1).
  if (more_was_durable_ || ended_in_gap_ || slot_.durable_through >= expected_ ||
      (current_ && (knows_more(*current_, block_) || sealed_past(*current_, block_))))
    co_return fail(Code::corrupt,
                   "the log was durable past entry " + std::to_string(expected_ - 1) +
                       ", but what follows cannot be read; `lamina repair` looks for what is "
                       "left (B1)");
  const bool anything = !pending_.empty() || !end_.nothing_follows;
  if (cut_segment_gone_ && !anything && !slot_.clean)
    co_return fail(Code::corrupt,
                   "the segment in which the log went on is destroyed, header and records: nobody "
                   "can tell where it ended; `lamina repair` looks for what is left (A2)");
  LAMINA_CO_TRY(settle(true));
  if (slot_.clean && end_.nothing_follows)
    count(RecoveryBranch::clean_open);
  else
    count(anything ? RecoveryBranch::torn_tail : RecoveryBranch::empty_log);
  while (segments_.size() > 1 && segments_.back()->first == 0) segments_.pop_back();
  co_return Result<>{};
}

}  // namespace lamina
