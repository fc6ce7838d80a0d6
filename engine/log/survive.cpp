// SPDX-License-Identifier: Apache-2.0
// A19: a failed write or flush is a crash survived live. log.h says in which steps, and why.
#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "blobs/layout.h"
#include "engine/log/log.h"
#include "engine/mutation.h"

namespace lamina {
namespace {

// Without a checkpoint in between: who fails so often does not get better.
constexpr uint32_t survivals_limit = 4;
// Each uses up a checkpoint's number, whose place in the ring must not be K_new's or K_old's.
static_assert(survivals_limit + 2 < slot_ring_length);
// A disk that fails once may have had an accident; one that does so twice without a checkpoint in
// between is one that nobody would put anything on, where there is another.
constexpr uint32_t accidents = 1;
// Steps written again under one hold of the order lock, so that readers get their turn.
constexpr size_t steps_at_once = 64;

size_t packed_at_most(Entry& entry) {
  const uint32_t offset = entry.offset;
  if (has_payload(entry)) entry.offset = std::numeric_limits<uint32_t>::max() / 2;
  const size_t bytes = packed_entry_size(entry, 0);
  entry.offset = offset;
  return bytes;
}

// Whether the segment that it lies in is the home of what the entry says.
bool is_home(const Entry& entry) {
  switch (entry.kind) {
    case EntryKind::zero:
    case EntryKind::alias:
    case EntryKind::lost:
    case EntryKind::reserve:
      return entry.length.value > 0;
    default:
      return false;
  }
}

}  // namespace

void Log::fail_with(const Error& why, Epoch epoch) {
  Lock lock(order_);
  fail_locked(why, epoch);
}

void Log::fail_locked(const Error& why, Epoch epoch) {
  // What an ended epoch leaves behind, and further failures of one that ends already, say nothing
  // new.
  if (phase_ == Phase::failed || phase_ == Phase::ends || epoch != identity_.epoch) return;
  const bool hopeless =
      !serving_ || phase_ == Phase::begins || why.code != Code::io || survived_ >= survivals_limit;
  if (hopeless) return give_up(why);
  phase_ = Phase::ends;
  why_ = why;
  ++background_;
  spawn(survive());
  changed_.wake_all();
}

void Log::give_up(const Error& why) {
  if (phase_ == Phase::failed) return;
  phase_ = Phase::failed;
  why_ = why;
  changed_.wake_all();
  if (on_failure) on_failure(why_);
}

Task<void> Log::survive() {
  co_await Yield{};  // it is spawned under the lock
  SwitchTo background{*settings_.background};
  co_await background;
  co_await take_turn();  // no flush is under way, and none begins
  co_await wait_until_idle();
  co_await give_up_failing();
  auto entries = co_await begin_again();
  Lock lock(order_);
  if (entries && phase_ != Phase::failed) {
    phase_ = Phase::works;
    release_durable();
    ++survived_;
    ++counters_.survived_failures;
    if (durable_ < last_) start_timer();
    if (on_survived) on_survived(why_, *entries);
  } else if (!entries) {
    give_up(entries.error());
  }
  flushing_ = false;
  --background_;
  changed_.wake_all();
}

Task<void> Log::wait_until_idle() {
  for (;;) {
    Completion completion;
    {
      Lock lock(order_);
      if (in_flight_.empty() && sealing_ == 0) co_return;
      changed_.add(completion);
    }
    co_await completion;
  }
}

// Whether what is written to it now becomes durable. `unused`: a segment on it that nobody has
// written to, or will.
Task<bool> Log::still_works(Blob& blob, std::optional<SegmentName> unused) {
  Buffer zero(block_size);
  IoBatch batch;
  if (unused) batch.write(blob.disk(), blob.offset(unused->index, 0), zero.span());
  co_await batch;
  if (batch.ok()) batch.flush(blob.disk());
  co_await batch;
  co_return batch.ok();
}

// How many of the next segments a durable header names: none of them has been written to.
size_t Log::unwritten() const {
  return durable_ordinal_ + chain_length - current_->ordinal;
}

// Those that have failed since the last time. Where the log can do without one, and it fails still,
// or too often, nothing is taken from it any more, and what is written to it is lost on nobody.
Task<void> Log::give_up_failing() {
  struct Suspect {
    Blob* blob;
    std::optional<SegmentName> unused;
    bool works = false;
  };
  std::vector<Suspect> suspects;
  {
    Lock lock(order_);
    failing_.clear();
    for (const auto& blob : space_.blobs()) {
      Trouble& trouble = troubles_[blob->id()];
      const uint64_t failures = blob->disk().failures();
      if (std::exchange(trouble.failures, failures) == failures || blob->disk().given_up())
        continue;
      ++trouble.times;
      failing_.insert(blob->id());
      Suspect suspect{blob.get(), std::nullopt};
      for (size_t i = 0; i < std::min(unwritten(), next_.size()); ++i)
        if (next_[i].blob == blob->id()) suspect.unused = next_[i];
      suspects.push_back(suspect);
    }
  }
  for (Suspect& suspect : suspects) {
    auto trying = still_works(*suspect.blob, suspect.unused);
    suspect.works = co_await trying;
  }
  Lock lock(order_);
  for (const Suspect& suspect : suspects) {
    const BlobId id = suspect.blob->id();
    Trouble& trouble = troubles_[id];
    trouble.failures = suspect.blob->disk().failures();
    if ((suspect.works && trouble.times <= accidents) || !can_do_without(id)) continue;
    permit_.reset();
    suspect.blob->disk().give_up();
    // One that is leaving goes on doing so: what is on it can be read.
    if (space_.use_of(id) == BlobUse::serves) space_.set_use(id, BlobUse::failed);
    if (on_given_up) on_given_up(*suspect.blob, why_);
  }
}

// Whether the next epoch can begin elsewhere.
bool Log::can_do_without(BlobId id) const {
  if (space_.tier_of(id) > 0) return true;
  for (size_t i = 0; i < std::min(unwritten(), next_.size()); ++i)
    if (next_[i].blob != id && space_.use_of(next_[i].blob) == BlobUse::serves) return true;
  return false;
}

// A3: the last of those that a durable header names, on a disk that has not just failed, or at
// least serves.
std::optional<size_t> Log::where_to_begin() const {
  for (const bool may_fail : {false, true})
    for (size_t i = unwritten(); i-- > 0;)
      if (!space_.blob(next_[i].blob).disk().given_up() &&
          (may_fail || !failing_.contains(next_[i].blob)))
        return i;
  return std::nullopt;
}

// The result: how many entries were written again.
Task<Result<uint64_t>> Log::begin_again() {
  std::vector<LostStep> steps;
  std::vector<Rewritten> again;
  std::vector<std::shared_ptr<TailSegment>> dead;
  std::vector<SegmentName> unused;
  uint64_t count = 0;
  {
    Lock lock(order_);
    if (phase_ == Phase::failed) co_return std::unexpected<Error>(why_);
    if (unwritten() < 1 || unwritten() > chain_length)
      co_return fail(Code::corrupt, "the log ran past the segments that it had named (A3)");
    const auto begins = where_to_begin();
    if (!begins) co_return fail(Code::io, why_.message);
    const SegmentName where = next_[*begins];
    for (const SegmentName& name : next_)
      if (name != where) unused.push_back(name);
    count = last_ - durable_;
    phase_ = Phase::begins;
    if (on_cut(durable_)) uncut();
    steps = take_lost_steps();
    dead = end_segments();
    unflushed_.clear();
    const std::deque<std::shared_ptr<TailSegment>> to_seal = held_;
    LAMINA_CO_TRY(name_next());
    begin_epoch(where, durable_, durable_end_.checksum);
    for (const auto& segment : to_seal) maybe_seal(segment);
    if (steps.empty()) {
      begin(64, 0);
      add(Entry{}, {});
    } else {
      write_step_again(steps.front(), again);
    }
    close_record();
  }
  // What says the cut is durable before anything else of the epoch is written.
  if (!mutated(Mutation::cut_not_alone)) LAMINA_CO_TRY(co_await flush_round());
  auto written = co_await write_again(steps, again);
  if (!written) co_return forward_error(written);
  std::reverse(again.begin(), again.end());
  Lock lock(order_);
  if (phase_ == Phase::failed) co_return std::unexpected<Error>(why_);
  if (!mutated(Mutation::keep_old_places)) on_rewritten(again);
  tail_.note_rewritten();
  let_go(dead, unused);
  co_return count;
}

// Every step past what is durable, in order; their entries leave the segments.
std::vector<Log::LostStep> Log::take_lost_steps() {
  std::vector<LostStep> lost;
  for (const auto& segment : held_) {
    std::vector<Entry>& entries = segment->entries;
    for (size_t i = 0; i < segment->steps.size(); ++i) {
      const size_t begin = segment->steps[i];
      const size_t end = i + 1 < segment->steps.size() ? segment->steps[i + 1] : entries.size();
      if (begin == end || entries[begin].sequence <= durable_) continue;
      LostStep step;
      step.segment = segment;
      step.sums = segment->sums;
      for (size_t e = begin; e < end; ++e) {
        if (has_payload(entries[e]))
          step.payload_blocks += static_cast<uint32_t>(entries[e].length.value);
        step.packed_bytes += packed_at_most(entries[e]);
        step.entries.push_back(std::move(entries[e]));
      }
      lost.push_back(std::move(step));
    }
  }
  return lost;
}

// No record is added to a segment of the ended epoch. What is durable in one is sealed, if it was
// not, or nobody knows whether that is on the disk; those with nothing but void entries come back.
std::vector<std::shared_ptr<TailSegment>> Log::end_segments() {
  std::vector<std::shared_ptr<TailSegment>> dead;
  std::deque<std::shared_ptr<TailSegment>> kept = std::exchange(sealed_, {});
  for (auto& segment : held_) {
    if (segment->first > durable_) {
      dead.push_back(std::move(segment));
      continue;
    }
    if (segment->last > durable_) cut_off(*segment);
    segment->full = true;
    kept.push_back(std::move(segment));
  }
  for (const auto& segment : kept)
    if (!segment->seal_durable) segment->sealed = false;
  held_ = std::move(kept);
  return dead;
}

// Behind the last durable record nothing of the segment counts (A3).
void Log::cut_off(TailSegment& segment) {
  LAMINA_CHECK(durable_end_.last == durable_ && durable_end_.end > 0);
  const uint64_t kept = durable_ + 1 - segment.first;  // entries are numbered densely
  segment.entries.resize(kept);
  std::erase_if(segment.steps, [kept](uint32_t step) { return step >= kept; });
  segment.entry_bytes = 0;
  for (const Entry& entry : segment.entries)
    segment.entry_bytes += packed_entry_size(entry, segment.first);
  segment.last = durable_;
  segment.next_block = durable_end_.end;
  auto sums = std::make_shared<std::vector<uint32_t>>(*segment.sums);
  std::fill(sums->begin() + segment.next_block, sums->end(), 0);
  segment.sums = std::move(sums);
  sums_.pin(segment.name.generation, segment.sums);
  segment.seal_durable = false;
}

// All but the first, which is written.
Task<Result<>> Log::write_again(std::vector<LostStep>& steps, std::vector<Rewritten>& again) {
  for (size_t at = 1; at < steps.size();) {
    Room found = Room::yes;
    {
      Lock lock(order_);
      if (phase_ == Phase::failed) co_return std::unexpected<Error>(why_);
      const size_t end = std::min(steps.size(), at + steps_at_once);
      while (at < end && (found = room_again(steps[at])) == Room::yes)
        write_step_again(steps[at++], again);
    }
    if (found == Room::after_space)
      co_return fail(Code::no_space, "no free segment is left to write the log again in (D5)");
    if (found == Room::after_flush) LAMINA_CO_TRY(co_await flush_round());
  }
  co_return Result<>{};
}

// Whether the step can be written without waiting. The tail's limits do not count: what is written
// again is in memory anyway.
Log::Room Log::room_again(const LostStep& step) {
  const size_t packed = std::max(step.packed_bytes, worst_step_bytes);
  if (current_takes(packed, step.payload_blocks, false)) return Room::yes;
  if (!may_run_ahead(0)) return Room::after_flush;
  return may_switch(Claim::checkpoint) ? Room::yes : Room::after_space;
}

void Log::write_step_again(LostStep& step, std::vector<Rewritten>& again) {
  begin(step.packed_bytes, step.payload_blocks);
  const Generation from = step.segment->name.generation, to = current_->name.generation;
  for (Entry& entry : step.entries) {
    const uint32_t offset = entry.offset;
    std::span<const std::byte> payload;
    const uint32_t* sums = nullptr;
    if (has_payload(entry)) {
      payload = step.segment->memory.blocks(offset, entry.length.value);
      sums = step.sums->data() + offset;
    }
    const Entry& written = put(std::move(entry), payload, sums);
    Rewritten moved;
    moved.map = written.map;
    moved.sequence = written.sequence;
    moved.swap.range = {written.begin, written.begin + written.length};
    moved.swap.home = is_home(written);
    moved.swap.from = {from, offset};
    moved.swap.to = {to, written.offset};
    if (moved.swap.home || written.kind == EntryKind::write) again.push_back(moved);
  }
  step = {};
}

// Nothing refers to these any more, in the maps or in memory.
void Log::let_go(const std::vector<std::shared_ptr<TailSegment>>& dead,
                 const std::vector<SegmentName>& unused) {
  for (const auto& segment : dead) {
    tail_.remove(segment->name.generation);
    sums_.unpin(segment->name.generation);
    space_.retire(segment->name.generation);
  }
  for (const SegmentName& name : unused) space_.retire(name.generation);
}

}  // namespace lamina
