// SPDX-License-Identifier: Apache-2.0
#include "engine/log/log.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "blobs/segment.h"
#include "blobs/summary.h"
#include "engine/mutation.h"

namespace lamina {
namespace {

constexpr size_t held_minimum = 4;  // segments of tail: fewer and the chain rule would stall it
// What one entry may take in a layer: its extent, and the halves of one that it splits.
constexpr uint64_t layer_bytes_per_entry = 64;
// Records that go out early after a sync. One would do for whoever syncs after each write; without
// a sync each costs a header.
constexpr uint32_t early_records = 2;
// A packed entry's bound, for steps of one entry with short names.
constexpr size_t worst_step_bytes = 1024;

}  // namespace

Log::Log(const PoolIdentity& identity, const Settings& settings, Space& space, Sums& sums,
         Counters& counters)
    : identity_(identity), settings_(settings), space_(space), sums_(sums), counters_(counters) {}

Log::~Log() = default;

uint32_t Log::step_blocks() const {
  return std::min(max_step_blocks, space_.segment_blocks() / 4);
}

// ---------------------------------------------------------------- room, and steps

bool Log::current_takes(size_t packed_bytes, uint32_t payload_blocks, bool in_open_record) const {
  uint32_t end = current_->next_block;
  if (!body_.entries.empty())
    end = record_block_ + 1 + static_cast<uint32_t>(body_.checksums.size());
  end += payload_blocks + (in_open_record ? 0 : 1);
  const uint32_t summary = summary_blocks(current_->entry_bytes + packed_bytes);
  return end + summary <= static_cast<uint32_t>(current_->memory.size() / block_size);
}

uint64_t Log::entry_limit() const {
  return settings_.layers_bytes / 2 / layer_bytes_per_entry;
}

// Of segments whose memory there is.
size_t Log::held_limit() const {
  return std::max<size_t>(
      held_minimum, settings_.tail_bytes / (uint64_t{space_.segment_blocks()} * block_size));
}

Log::Room Log::room(uint32_t payload_blocks, Claim claim, Pace pace) {
  if (last_ - cut_last_ >= entry_limit()) return Room::after_merge;
  if (current_takes(worst_step_bytes, payload_blocks, false)) return Room::yes;
  const size_t kept_for_others = pace == Pace::streaming ? 1 : 0;
  if (held_.size() >= held_limit() - kept_for_others) return Room::after_flush;
  // A3: what is written next must not be where a recovery would go on.
  if (current_->ordinal + 1 - durable_ordinal_ >= chain_length - kept_for_others)
    return Room::after_flush;
  if (!space_.may_take(claim)) return Room::after_space;
  return Room::yes;
}

bool Log::has_room(uint32_t payload_blocks, Claim claim, Pace pace) {
  return !failed_ && room(payload_blocks, claim, pace) == Room::yes;
}

Task<Result<>> Log::wait_for_room(uint32_t payload_blocks, Claim claim, Pace pace) {
  for (;;) {
    Room found = Room::yes;
    Completion completion;
    {
      Lock lock(order_);
      if (failed_) co_return fail(Code::read_only, why_.message);
      found = room(payload_blocks, claim, pace);
      if (found == Room::after_flush) {
        // Segments become durable one after the other, and sealed: it may be time at each change.
        if (durable_ < last_) start_flush(last_);
        ++want_room_;
        changed_.add(completion);
      }
    }
    if (found == Room::yes) co_return Result<>{};
    if (found == Room::after_flush) {
      co_await completion;
      Lock lock(order_);
      --want_room_;
    } else if (found == Room::after_merge) {
      LAMINA_CO_TRY(co_await merge());
    } else {
      LAMINA_CO_TRY(co_await reclaim(claim));
    }
  }
}

void Log::begin(size_t packed_bytes, uint32_t payload_blocks, Claim claim) {
  LAMINA_CHECK(packed_bytes + 4 * payload_blocks <= record_body_limit);
  const bool open = !body_.entries.empty();
  if (open && record_body_bytes(body_packed_ + packed_bytes,
                                body_.checksums.size() + payload_blocks) > record_body_limit)
    close_record();
  if (!current_takes(std::max(packed_bytes, worst_step_bytes), payload_blocks,
                     !body_.entries.empty())) {
    close_record();
    if (!current_takes(std::max(packed_bytes, worst_step_bytes), payload_blocks, false))
      switch_segment(claim);
  }
  if (body_.entries.empty()) open_record();
}

void Log::open_record() {
  record_block_ = current_->next_block;
  body_.first = last_ + 1;
  body_packed_ = 0;
}

const Entry& Log::add(Entry entry, std::span<const std::byte> payload) {
  TailSegment& segment = *current_;
  entry.sequence = ++last_;
  const auto blocks = static_cast<uint32_t>(div_up(payload.size(), block_size));
  const uint32_t offset = record_block_ + 1 + static_cast<uint32_t>(body_.checksums.size());
  if (blocks > 0) {
    entry.offset = offset;
    std::byte* to = segment.memory.data() + uint64_t{offset} * block_size;
    std::memcpy(to, payload.data(), payload.size());
    const size_t padding = uint64_t{blocks} * block_size - payload.size();
    if (padding > 0) std::memset(to + payload.size(), 0, padding);
    for (uint32_t i = 0; i < blocks; ++i) {
      const uint32_t sum = payload_checksum({to + uint64_t{i} * block_size, block_size});
      (*segment.sums)[offset + i] = sum;
      body_.checksums.push_back(sum);
    }
  }
  if (segment.first == 0) segment.first = entry.sequence;
  segment.last = entry.sequence;
  const size_t packed = packed_entry_size(entry, body_.first);
  body_packed_ += packed;
  segment.entry_bytes += packed_entry_size(entry, segment.first);
  segment.entries.push_back(entry);
  body_.entries.push_back(std::move(entry));
  start_timer();
  if (early_left_ > 0 && !early_started_ && in_flight_.empty()) {
    early_started_ = true;
    ++background_;
    spawn(write_early());
  }
  return body_.entries.back();
}

// ---------------------------------------------------------------- segments and records

std::shared_ptr<TailSegment> Log::open_segment(const SegmentName& name) {
  auto segment = std::make_shared<TailSegment>();
  const uint32_t blocks = space_.blob(name.blob).segment_blocks();
  segment->name = name;
  segment->epoch = identity_.epoch;
  if (!spare_.empty() && spare_.back().size() == uint64_t{blocks} * block_size) {
    segment->memory = std::move(spare_.back());
    spare_.pop_back();
  } else {
    segment->memory = Buffer(uint64_t{blocks} * block_size);
  }
  segment->sums = std::make_shared<std::vector<uint32_t>>(blocks);
  segment->next_block = payload_begin(SegmentClass::log, blocks, 0);
  sums_.pin(name.generation, segment->sums);
  tail_.add(segment);
  segment->ordinal = current_ ? current_->ordinal + 1 : 1;
  segment->opened_ns = settings_.background->now_ns();
  held_.push_back(segment);
  return segment;
}

void Log::switch_segment(Claim claim) {
  const auto taken = space_.take(SegmentClass::log, claim);
  LAMINA_CHECK(taken.has_value());  // room() said so, and the lock was not let go
  auto before = current_;
  before->full = true;
  current_ = open_segment(next_[0]);
  std::shift_left(next_.begin(), next_.end(), 1);
  next_.back() = *taken;
  maybe_seal(before);
  if (on_segment) on_segment(current_->opened_ns - before->opened_ns);
}

void Log::close_record(bool through) {
  if (body_.entries.empty()) return;
  auto segment = current_;
  RecordHeader header;
  header.epoch = identity_.epoch;
  header.at = {segment->name.generation, record_block_};
  header.durable_through = durable_;
  header.wall_ns = settings_.background->wall_ns();
  header.next = next_;
  header.newest_checkpoint = backed_.newest;
  header.oldest_backed = backed_.oldest;
  header.starts_epoch = starts_epoch_;
  header.cut_sequence = cut_sequence_;
  header.cut_checksum = cut_checksum_;
  header.body = std::move(body_);
  header.previous_at = previous_at_;
  header.previous = std::move(previous_);
  last_checksum_ = pack_record(header, identity_.secret, segment->name.blob, segment->name.index,
                               segment->memory.blocks(record_block_, 1));
  starts_epoch_ = false;
  cut_sequence_ = 0;
  cut_checksum_ = 0;
  witnessed_ = durable_;
  previous_at_ = header.at;
  previous_ = std::move(header.body);
  body_ = {};

  auto record = std::make_shared<InFlight>();
  record->segment = segment;
  record->through = through;
  record->end = record_block_ + 1 + static_cast<uint32_t>(previous_.checksums.size());
  record->last = closed_ = previous_.first + previous_.entries.size() - 1;
  const uint32_t begin = payload_begin(
      SegmentClass::log, static_cast<uint32_t>(segment->memory.size() / block_size), 0);
  const bool first_in_segment = record_block_ == begin;
  record->begin = first_in_segment ? 0 : record_block_;
  segment->next_block = record->end;
  if (first_in_segment) {
    // One streaming write from the segment's front: its header, the place of its checksums
    // (written at seal), the record.
    std::memset(segment->memory.data(), 0, uint64_t{begin} * block_size);
    SegmentHeader h;
    h.pool = identity_.pool;
    h.secret = identity_.secret;
    h.blob = segment->name.blob;
    h.index = segment->name.index;
    h.generation = segment->name.generation;
    h.kind = SegmentClass::log;
    h.epoch = identity_.epoch;
    h.blocks = static_cast<uint32_t>(segment->memory.size() / block_size);
    h.wall_ns = header.wall_ns;
    pack_segment_header(h, segment->memory.blocks(0, 1));
  }
  ++segment->in_flight;
  since_cut_ += uint64_t{record->end - record->begin} * block_size;
  in_flight_.push_back(record);
  ++background_;
  spawn(write_record(std::move(record)));
  // So that the segments ahead need not wait for it (A3), and not so often that it slows a stream.
  if (first_in_segment && segment->ordinal - durable_ordinal_ >= chain_length / 2)
    start_flush(closed_);
  if (on_record) on_record(since_cut_, last_ - cut_last_);
}

void Log::expect_sync(Sequence through) {
  Lock lock(order_);
  if (through <= synced_) return;
  early_flush_ = through - synced_ == 1;
  synced_ = through;
  early_left_ = early_records;
}

Task<void> Log::write_early() {
  co_await Yield{};  // until the step has ended, and what else has come with it
  Lock lock(order_);
  early_started_ = false;
  --background_;
  if (early_left_ > 0 && !body_.entries.empty() && !failed_ && !stopping_) {
    --early_left_;
    if (early_flush_ && !flushing_)
      start_flush(last_);
    else
      close_record();
  }
  changed_.wake_all();
}

Task<void> Log::write_record(std::shared_ptr<InFlight> record) {
  TailSegment& segment = *record->segment;
  JournalBlob& blob = space_.blob(segment.name.blob);
  const uint64_t bytes = uint64_t{record->end - record->begin} * block_size;
  IoBatch batch;
  const auto memory = segment.memory.blocks(record->begin, record->end - record->begin);
  const uint64_t offset = blob.offset(segment.name.index, record->begin);
  if (record->through)
    batch.write_through(blob.disk(), offset, memory);
  else
    batch.write(blob.disk(), offset, memory);
  co_await batch;
  counters_.written_log += bytes;
  counters_.record_headers += block_size;
  Lock lock(order_);
  if (!record->through) unflushed_.insert(segment.name.blob);
  record->written = true;
  if (!batch.ok()) {
    auto result = batch.result();
    fail_locked(result.error());
  }
  while (!in_flight_.empty() && in_flight_.front()->written) {
    written_ = in_flight_.front()->last;
    in_flight_.pop_front();
  }
  --segment.in_flight;
  maybe_seal(record->segment);
  --background_;
  changed_.wake_all();
}

void Log::maybe_seal(const std::shared_ptr<TailSegment>& segment) {
  if (!segment->full || segment->in_flight > 0 || segment->sealed || failed_) return;
  ++background_;
  spawn(seal(segment));
}

Task<void> Log::seal(std::shared_ptr<TailSegment> segment) {
  JournalBlob& blob = space_.blob(segment->name.blob);
  auto result = co_await seal_log_segment(identity_, blob, *segment,
                                          settings_.background->wall_ns(), counters_);
  Lock lock(order_);
  if (result) {
    unflushed_.insert(segment->name.blob);
    space_.seal(segment->name.generation, segment->next_block);
    space_.settle(segment->name.generation, segment->last);
    segment->sealed = true;
    release_durable();
  } else {
    fail_locked(result.error());
  }
  --background_;
  changed_.wake_all();
}

void Log::release_durable() {
  while (!held_.empty() && held_.front()->sealed && held_.front()->last <= durable_) {
    TailSegment& segment = *held_.front();
    put_sums(sums_, segment);
    tail_.remove(segment.name.generation);
    sums_.unpin(segment.name.generation);
    // A reader may still be copying from it, then the memory goes with that reader.
    if (held_.front().use_count() == 1 && spare_.size() + held_.size() <= held_limit())
      spare_.push_back(std::move(segment.memory));
    held_.pop_front();
  }
}

// ---------------------------------------------------------------- durability

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
      if (failed_) co_return fail(Code::io, why_.message);
      if (!flushing_) {
        flushing_ = lead = true;
      } else {
        changed_.add(completion);
      }
    }
    if (!lead) {
      co_await completion;
      continue;
    }
    auto result = co_await flush_round();
    end_turn();
    if (!result) co_return result;
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

Task<Result<>> Log::flush_all_disks() {
  co_await take_turn();
  std::set<BlobId> all;
  for (const auto& blob : space_.blobs()) all.insert(blob->id());
  Sequence goal = 0;
  {
    Lock lock(order_);
    goal = written_;
    unflushed_.clear();
  }
  auto result = co_await flush_disks(std::move(all), goal);
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
      if (failed_) co_return fail(Code::io, why_.message);
      if (through && written_ >= goal) {
        ++counters_.flushes;
        made_durable(goal);
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

// With the turn held: afterwards every entry up to `goal`, all of them written, is durable.
Task<Result<>> Log::flush_disks(std::set<BlobId> blobs, Sequence goal) {
  IoBatch batch;
  for (const BlobId id : blobs) {
    if (mutated(Mutation::drop_flush)) break;
    batch.flush(space_.blob(id).disk());
    ++counters_.flushes;
  }
  co_await batch;
  Lock lock(order_);
  if (!batch.ok()) {
    auto result = batch.result();
    fail_locked(result.error());
  }
  if (failed_) co_return fail(Code::io, why_.message);
  made_durable(goal);
  co_return Result<>{};
}

void Log::made_durable(Sequence goal) {
  durable_ = std::max(durable_, goal);
  for (const auto& segment : held_)
    if (segment->first != 0 && segment->first <= durable_)
      durable_ordinal_ = std::max(durable_ordinal_, segment->ordinal);
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
// was (B5); so an idle pool has no timer.
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
        if (stopping_ || failed_) break;
      }
      Sleep sleep{slice};
      co_await sleep;
    }
    Sequence through = 0;
    {
      Lock lock(order_);
      if (stopping_ || failed_) break;
      if (durable_ >= last_ && witnessed_ < last_ && !previous_.entries.empty() &&
          previous_.entries.back().kind != EntryKind::nothing && has_room(0, Claim::log)) {
        begin(64, 0, Claim::log);
        add(Entry{}, {});
      } else if (durable_ >= last_) {
        more = false;
      }
      through = last_;
    }
    if (!more) break;
    [[maybe_unused]] auto result = co_await flush(through);
  }
  Lock lock(order_);
  timer_runs_ = false;
  --background_;
  // What came while this was ending gets a timer of its own.
  if (durable_ < last_ && !failed_) start_timer();
  changed_.wake_all();
}

// ---------------------------------------------------------------- epochs, cuts, the end

Result<> Log::name_next() {
  for (SegmentName& next : next_) {
    const auto taken = space_.take(SegmentClass::log, Claim::checkpoint);
    if (!taken) return fail(Code::no_space, "no free segment to start the log in (D5)");
    next = *taken;
  }
  return {};
}

Result<> Log::name_first() {
  Lock lock(order_);
  return name_next();
}

Task<Result<>> Log::start(SegmentName segment, Sequence last, uint64_t cut_checksum,
                          BackedCheckpoints backed) {
  {
    Lock lock(order_);
    LAMINA_CO_TRY(name_next());
    current_ = open_segment(segment);
    durable_ordinal_ = current_->ordinal;  // nothing else is written before its first record is
    last_ = closed_ = written_ = durable_ = witnessed_ = last;
    cut_last_ = last;
    backed_ = backed;
    starts_epoch_ = true;
    cut_sequence_ = last;
    cut_checksum_ = cut_checksum;
    begin(64, 0, Claim::checkpoint);
    add(Entry{}, {});
    last = last_;
  }
  co_return co_await flush(last);
}

LogPosition Log::cut() {
  close_record();
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

Task<Result<>> Log::wait_sealed(Sequence through) {
  for (;;) {
    Completion completion;
    {
      Lock lock(order_);
      if (failed_) co_return fail(Code::io, why_.message);
      const bool waiting = std::any_of(held_.begin(), held_.end(), [&](const auto& s) {
        return s->full && !s->sealed && s->last <= through;
      });
      if (!waiting) co_return Result<>{};
      changed_.add(completion);
    }
    co_await completion;
  }
}

void Log::set_backed(BackedCheckpoints backed) {
  Lock lock(order_);
  backed_ = backed;
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
  Sequence through = 0;
  {
    Lock lock(order_);
    close_record();
    through = last_;
  }
  auto flushed = co_await flush(through);
  if (!flushed) co_return flushed;
  {
    Lock lock(order_);
    current_->full = true;
    maybe_seal(current_);
  }
  co_return co_await wait_sealed(through);
}

Result<> Log::health() const {
  Lock lock(order_);
  if (failed_) return std::unexpected<Error>(why_);
  return {};
}

void Log::fail_with(const Error& why) {
  Lock lock(order_);
  fail_locked(why);
}

void Log::space_changed() {
  Lock lock(order_);
  changed_.wake_all();
}

void Log::fail_locked(const Error& why) {
  if (failed_) return;
  failed_ = true;
  why_ = why;
  changed_.wake_all();
  if (on_failure) on_failure(why_);
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

std::vector<Generation> Log::held() const {
  Lock lock(order_);
  std::vector<Generation> held{current_->name.generation};
  for (const SegmentName& next : next_) held.push_back(next.generation);
  return held;
}

}  // namespace lamina
