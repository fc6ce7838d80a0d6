// SPDX-License-Identifier: Apache-2.0
// When the log is durable: flushes, one at a time, and the timer that asks for them.
#include <algorithm>
#include <utility>

#include "engine/log/log.h"
#include "engine/mutation.h"

namespace lamina {

Sequence Log::durable() const {
  Lock lock(order_);
  return durable_;
}

Task<Result<>> Log::flush(Sequence through) {
  for (;;) {
    Completion completion;
    bool lead = false;
    {
      Lock lock(order_);
      if (durable_ >= through) co_return Result<>{};
      if (phase_ == Phase::failed) co_return fail(Code::io, why_.message);
      if (works() && !flushing_) {
        flushing_ = lead = true;
      } else {
        changed_.add(completion);
      }
    }
    if (!lead) {
      co_await completion;
      continue;
    }
    // A failure ends the epoch; then a flush of the next one is waited for.
    [[maybe_unused]] auto result = co_await flush_round();
    end_turn();
  }
}

Task<void> Log::take_turn() {
  for (;;) {
    Completion completion;
    {
      Lock lock(order_);
      if (!flushing_) {
        flushing_ = true;
        co_return;
      }
      changed_.add(completion);
    }
    co_await completion;
  }
}

void Log::end_turn() {
  Lock lock(order_);
  flushing_ = false;
  changed_.wake_all();
}

Task<Result<>> Log::flush_all_disks(Epoch written_in) {
  co_await take_turn();
  std::set<BlobId> all;
  for (const auto& blob : space_.blobs()) all.insert(blob->id());
  Sequence goal = 0;
  bool over = false;
  Error why;
  {
    Lock lock(order_);
    over = !works() || (identity_.epoch != written_in && !mutated(Mutation::trust_old_epoch));
    why = why_;
    goal = written_;
    if (!over) unflushed_.clear();
  }
  Result<> result;
  if (over)
    result = std::unexpected<Error>(why);
  else
    result = co_await flush_disks(std::move(all), goal);
  end_turn();
  co_return result;
}

// Whether a flush now would let the log go on (A3), though not all that it should cover is written.
bool Log::segment_to_make_durable() const {
  for (const auto& segment : held_)
    if (segment->ordinal > durable_ordinal_ && segment->first != 0 && segment->first <= written_)
      return true;
  return false;
}

// Makes at least something durable that was not; who wants more comes again.
Task<Result<>> Log::flush_round() {
  Sequence goal = 0;
  bool through = false;
  {
    Lock lock(order_);
    if (phase_ == Phase::ends || phase_ == Phase::failed) co_return fail(Code::io, why_.message);
    // Where the open record is all that is not durable, writing and flushing it are one.
    through = !body_.entries.empty() && in_flight_.empty() && unflushed_.empty() &&
              !mutated(Mutation::drop_flush);
    close_record(through);
    goal = closed_;
  }
  std::set<BlobId> blobs;
  for (;;) {
    Completion completion;
    {
      Lock lock(order_);
      if (phase_ == Phase::ends || phase_ == Phase::failed) co_return fail(Code::io, why_.message);
      if (through && written_ >= goal) {
        ++counters_.flushes;
        made_durable(goal, {});
        co_return Result<>{};
      }
      if (written_ >= goal || (want_room_ > 0 && segment_to_make_durable()) ||
          mutated(Mutation::ack_before_record)) {
        goal = mutated(Mutation::ack_before_record) ? goal : written_;
        blobs = std::exchange(unflushed_, {});
        break;
      }
      changed_.add(completion);
    }
    co_await completion;
  }
  co_return co_await flush_disks(std::move(blobs), goal);
}

// Segments whose seals a flush of these disks that begins now makes durable.
std::vector<Generation> Log::seals_on(const std::set<BlobId>& blobs) const {
  std::vector<Generation> seals;
  for (const auto* list : {&held_, &sealed_})
    for (const auto& segment : *list)
      if (segment->sealed && !segment->seal_durable && blobs.contains(segment->name.blob))
        seals.push_back(segment->name.generation);
  return seals;
}

// With the turn held: afterwards every entry up to `goal`, all of them written, is durable.
Task<Result<>> Log::flush_disks(std::set<BlobId> blobs, Sequence goal) {
  Epoch epoch = 0;
  std::vector<Generation> seals;
  {
    Lock lock(order_);
    epoch = identity_.epoch;
    seals = seals_on(blobs);
  }
  IoBatch batch;
  for (const BlobId id : blobs) {
    if (mutated(Mutation::drop_flush)) break;
    if (mutated(Mutation::flush_one_disk) && id != *blobs.begin()) break;
    batch.flush(space_.blob(id).disk());
    ++counters_.flushes;
  }
  co_await batch;
  bool good = batch.ok();
  if (!good && mutated(Mutation::trust_second_flush)) {
    IoBatch again;
    for (const BlobId id : blobs) again.flush(space_.blob(id).disk());
    co_await again;
    good = again.ok();
  }
  Lock lock(order_);
  if (!good) {
    auto result = batch.result();
    fail_locked(result.error(), epoch);
    co_return result;
  }
  if (phase_ == Phase::failed) co_return fail(Code::io, why_.message);
  // Also where something else has failed meanwhile: what was flushed is what was written before.
  made_durable(goal, seals);
  co_return Result<>{};
}

void Log::made_durable(Sequence goal, const std::vector<Generation>& seals) {
  durable_ = std::max(durable_, goal);
  while (!record_ends_.empty() && record_ends_.front().last <= durable_) {
    durable_end_ = record_ends_.front();
    record_ends_.pop_front();
  }
  for (const auto& segment : held_) {
    if (segment->first != 0 && segment->first <= durable_)
      durable_ordinal_ = std::max(durable_ordinal_, segment->ordinal);
    if (std::find(seals.begin(), seals.end(), segment->name.generation) != seals.end())
      segment->seal_durable = true;
    maybe_seal(segment);
  }
  std::erase_if(sealed_, [&](const auto& segment) {
    return std::find(seals.begin(), seals.end(), segment->name.generation) != seals.end();
  });
  release_durable();
}

void Log::start_flush(Sequence through) {
  if (flush_started_) return;
  flush_started_ = true;
  ++background_;
  spawn(flush_and_forget(through));
}

Task<void> Log::flush_and_forget(Sequence through) {
  co_await Yield{};                                        // it is spawned under the lock
  [[maybe_unused]] auto result = co_await flush(through);  // a failure is the pool's, and kept
  Lock lock(order_);
  flush_started_ = false;
  --background_;
  changed_.wake_all();
}

void Log::start_timer() {
  if (timer_runs_ || stopping_) return;
  timer_runs_ = true;
  ++background_;
  spawn(timer());
}

// Runs while something is not durable, and until a header or an empty record says that all of it
// was (B5), and the mark outside the log; so an idle pool has no timer.
Task<void> Log::timer() {
  co_await Yield{};
  SwitchTo background{*settings_.background};
  co_await background;
  const uint64_t period = settings_.flush_after_ns / 2;
  const uint64_t slice = std::max<uint64_t>(1, std::min<uint64_t>(period, 25'000'000));
  for (bool more = true; more;) {
    for (uint64_t slept = 0; slept < period; slept += slice) {
      {
        Lock lock(order_);
        if (stopping_ || phase_ == Phase::failed) break;
      }
      Sleep sleep{slice};
      co_await sleep;
    }
    Sequence through = 0;
    {
      Lock lock(order_);
      if (stopping_ || phase_ == Phase::failed) break;
      if (durable_ >= last_ && witnessed_ < last_ && !previous_.entries.empty() &&
          !mutated(Mutation::forget_witness) &&
          previous_.entries.back().kind != EntryKind::nothing && has_room(0, Claim::log)) {
        begin(64, 0);
        add(Entry{}, {});
      } else if (durable_ >= last_) {
        more = false;
      }
      through = last_;
    }
    if (more) (void)co_await flush(through);
    co_await mark_durable();
  }
  Lock lock(order_);
  timer_runs_ = false;
  --background_;
  // What came while this was ending gets a timer of its own, durable by now or not (B5).
  const bool told = durable_ >= last_ && (witnessed_ >= last_ || previous_.entries.empty() ||
                                          previous_.entries.back().kind == EntryKind::nothing);
  if (!told && phase_ != Phase::failed) start_timer();
  changed_.wake_all();
}

}  // namespace lamina
