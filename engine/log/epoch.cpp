// SPDX-License-Identifier: Apache-2.0
// How an epoch of the log begins and ends, and where it is cut between.
#include <algorithm>

#include "base/check.h"
#include "engine/log/log.h"

namespace lamina {

Result<> Log::name_next() {
  BlobId before = BlobId::none;
  for (SegmentName& next : next_) {
    const auto taken = space_.take(SegmentClass::log, Claim::checkpoint, 0, before);
    if (!taken) return fail(Code::no_space, "no free segment to start the log in (D5)");
    next = *taken;
    before = next.blob;
  }
  return {};
}

Result<> Log::name_first(Sequence last) {
  Lock lock(order_);
  last_ = cut_last_ = closed_ = written_ = durable_ = witnessed_ = last;
  return name_next();
}

Task<Result<>> Log::start(SegmentName segment, Sequence last, uint64_t cut_checksum,
                          BackedCheckpoints backed) {
  {
    Lock lock(order_);
    LAMINA_CO_TRY(name_next());
    last_ = cut_last_ = last;
    backed_ = backed;
    begin_epoch(segment, last, cut_checksum);
    begin(64, 0);
    add(Entry{}, {});
    last = last_;
  }
  co_return co_await flush(last);
}

void Log::begin_epoch(const SegmentName& segment, Sequence cut, uint64_t cut_checksum) {
  current_ = open_segment(segment);
  durable_ordinal_ = current_->ordinal;  // nothing else is written before its first record is
  closed_ = written_ = durable_ = witnessed_ = cut;
  durable_end_ = {cut, cut_checksum, 0};
  record_ends_.clear();
  body_ = {};
  body_packed_ = 0;
  previous_ = {};
  previous_at_ = {};
  starts_epoch_ = true;
  cut_sequence_ = cut;
  cut_checksum_ = cut_checksum;
}

void Log::serve() {
  Lock lock(order_);
  serving_ = true;
}

LogPosition Log::cut() {
  close_record();
  before_cut_bytes_ = since_cut_;
  before_cut_last_ = cut_last_;
  since_cut_ = 0;
  cut_last_ = last_;
  LogPosition at;
  if (current_ && !current_->full) {
    at.segment = current_->name;
    at.block = current_->next_block;
  }
  at.next = next_;
  at.last_checksum = last_checksum_;
  at.last = last_;
  at.durable = durable_;
  return at;
}

void Log::uncut() {
  since_cut_ += before_cut_bytes_;
  cut_last_ = before_cut_last_;
}

Task<Result<>> Log::wait_sealed(Sequence through) {
  for (;;) {
    Completion completion;
    {
      Lock lock(order_);
      if (phase_ == Phase::failed) co_return fail(Code::io, why_.message);
      const bool waiting = std::any_of(held_.begin(), held_.end(), [&](const auto& s) {
        return s->full && !s->sealed && s->last <= through;
      });
      if (!waiting) co_return Result<>{};
      changed_.add(completion);
    }
    co_await completion;
  }
}

void Log::set_backed(BackedCheckpoints backed, Sequence cut) {
  Lock lock(order_);
  backed_ = backed;
  repeated_.checkpointed(cut);
  survived_ = 0;
  for (auto& [blob, trouble] : troubles_) trouble.times = 0;
}

Task<void> Log::stop() {
  {
    Lock lock(order_);
    stopping_ = true;
  }
  for (;;) {
    Completion completion;
    {
      Lock lock(order_);
      if (background_ == 0) co_return;
      changed_.add(completion);
    }
    co_await completion;
  }
}

Task<Result<>> Log::finish() {
  for (;;) {
    Sequence through = 0;
    Epoch epoch = 0;
    LAMINA_CO_TRY(co_await wait_until_works());
    {
      Lock lock(order_);
      if (!works()) continue;
      epoch = identity_.epoch;
      close_record();
      through = last_;
    }
    LAMINA_CO_TRY(co_await flush(through));
    {
      Lock lock(order_);
      if (identity_.epoch != epoch) continue;  // another segment is open now
      current_->full = true;
      maybe_seal(current_);
    }
    LAMINA_CO_TRY(co_await wait_sealed(through));
    Lock lock(order_);
    if (identity_.epoch == epoch) co_return Result<>{};
  }
}

Result<> Log::health() const {
  Lock lock(order_);
  return health_now();
}

Result<> Log::health_now() const {
  if (phase_ == Phase::failed) return std::unexpected<Error>(why_);
  return {};
}

void Log::space_changed() {
  Lock lock(order_);
  changed_.wake_all();
}

Task<Result<>> Log::wait_until_works() {
  for (;;) {
    Completion completion;
    {
      Lock lock(order_);
      if (works()) co_return Result<>{};
      if (phase_ == Phase::failed) co_return std::unexpected<Error>(why_);
      changed_.add(completion);
    }
    co_await completion;
  }
}

uint64_t Log::bytes_since_cut() const {
  Lock lock(order_);
  return since_cut_;
}

uint64_t Log::tail_bytes() const {
  Lock lock(order_);
  uint64_t bytes = 0;
  for (const auto& segment : held_)
    if (segment->last > durable_) bytes += uint64_t{segment->next_block} * block_size;
  return bytes;
}

const TailSegment* Log::unsealed(Generation generation) const {
  const auto found = std::ranges::find_if(
      held_, [generation](const auto& segment) { return segment->name.generation == generation; });
  return found == held_.end() ? nullptr : found->get();
}

std::optional<uint64_t> Log::newer_entries(Generation generation, uint64_t begin, uint64_t end,
                                           Sequence than) const {
  Lock lock(order_);
  const TailSegment* segment = unsealed(generation);
  if (!segment) return std::nullopt;
  uint64_t newer = 0;
  for (const Entry& entry : segment->entries) {
    if (entry.kind != EntryKind::write || entry.sequence <= than) continue;
    const uint64_t from = std::max<uint64_t>(begin, entry.offset);
    const uint64_t to = std::min(end, entry.offset + entry.length.value);
    if (from < to) newer += to - from;
  }
  return newer;
}

std::optional<std::vector<Entry>> Log::facts(Generation generation, Sequence until) const {
  Lock lock(order_);
  const TailSegment* segment = unsealed(generation);
  if (!segment) return std::nullopt;
  std::vector<Entry> facts;
  for (const Entry& entry : segment->entries)
    if (!has_payload(entry) && entry.sequence <= until) facts.push_back(entry);
  return facts;
}

std::vector<Generation> Log::held() const {
  Lock lock(order_);
  std::vector<Generation> held{current_->name.generation};
  for (const SegmentName& next : next_) held.push_back(next.generation);
  return held;
}

}  // namespace lamina
