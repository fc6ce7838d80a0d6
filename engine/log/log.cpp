// SPDX-License-Identifier: Apache-2.0
#include "engine/log/log.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/copy.h"
#include "blobs/segment.h"
#include "blobs/summary.h"
#include "engine/log/chain.h"
#include "engine/mutation.h"

namespace lamina {
namespace {

constexpr size_t held_minimum = 4;  // segments of tail: fewer and the chain rule would stall it
// What one entry may take in a layer: its extent, and the halves of one that it splits.
constexpr uint64_t layer_bytes_per_entry = 64;
// Records that go out early after a sync. One would do for whoever syncs after each write; without
// a sync each costs a header.
constexpr uint32_t early_records = 2;
constexpr uint32_t largest_step = 384;  // blocks

// One block of payload, padded with zeroes. Returns its checksum, which is `known` or computed of
// where the data comes from: the log's memory is not in the cache, and need not come there.
// Measured, of 4K random writes: 3 to 8 % more of them.
uint32_t put_block(std::span<const std::byte> from, std::span<std::byte> to,
                   const uint32_t* known) {
  if (from.size() == to.size()) {
    const uint32_t sum = known ? *known : payload_checksum(from);
    copy_past_cache(from.data(), to.data(), to.size());
    return sum;
  }
  std::memcpy(to.data(), from.data(), from.size());
  std::memset(to.data() + from.size(), 0, to.size() - from.size());
  return known ? *known : payload_checksum(to);
}

}  // namespace

Log::Log(const PoolIdentity& identity, const Settings& settings, Space& space, Sums& sums,
         Counters& counters)
    : identity_(identity), settings_(settings), space_(space), sums_(sums), counters_(counters) {}

Log::~Log() = default;

uint32_t Log::step_blocks() const {
  return std::min(max_step_blocks, space_.segment_blocks() / 4);
}

uint32_t Log::largest_step_blocks() const {
  return std::min(largest_step, space_.segment_blocks() / 2);
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
  return std::max<size_t>(held_minimum,
                          settings_.tail_bytes / (uint64_t{space_.segment_blocks()} * block_size));
}

Log::Room Log::room(uint32_t payload_blocks, Claim claim, Pace pace) {
  if (last_ - cut_last_ >= entry_limit()) return Room::after_merge;
  if (current_takes(record_body_limit, payload_blocks, false)) return Room::yes;
  const size_t kept_for_others = pace == Pace::streaming ? 1 : 0;
  if (held_.size() >= held_limit() - kept_for_others) return Room::after_flush;
  if (!may_run_ahead(kept_for_others)) return Room::after_flush;
  return may_switch(claim) ? Room::yes : Room::after_space;
}

// A3: what is written next must not be where a recovery would go on. One segment may always be
// begun once all before it is durable.
bool Log::may_run_ahead(size_t kept_for_others) const {
  SegmentChain named;  // by the newest durable header
  for (size_t i = 0; i < named.size(); ++i) named[i] = named_at(durable_ordinal_ + 1 + i);
  const size_t kept =
      mutated(Mutation::write_where_cut) ? 0 : kept_unwritten(named) + kept_for_others;
  const size_t ahead = current_->ordinal + 1 - durable_ordinal_;
  return ahead <= std::max<size_t>(1, chain_length - kept);
}

// The log's segment of that number: one that is not durable yet, or will be used next.
SegmentName Log::named_at(uint64_t ordinal) const {
  if (ordinal > current_->ordinal) return next_[ordinal - current_->ordinal - 1];
  const auto found =
      std::ranges::find(held_, ordinal, [](const auto& segment) { return segment->ordinal; });
  LAMINA_CHECK(found != held_.end());
  return (*found)->name;
}

// What works beside the log takes segments too: the one that a step may go on in is promised to it
// before it begins.
bool Log::may_switch(Claim claim) {
  if (!permit_) permit_ = space_.permit(claim);
  return permit_.has_value();
}

bool Log::has_room(uint32_t payload_blocks, Claim claim, Pace pace) {
  return works() && room(payload_blocks, claim, pace) == Room::yes;
}

Task<Result<>> Log::wait_for_room(uint32_t payload_blocks, Claim claim, Pace pace) {
  for (;;) {
    auto working = co_await wait_until_works();
    if (!working) co_return fail(Code::read_only, working.error().message);
    Room found = Room::yes;
    Completion completion;
    {
      Lock lock(order_);
      if (!works()) continue;
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

void Log::begin(size_t packed_bytes, uint32_t payload_blocks) {
  LAMINA_CHECK(packed_bytes + 4 * payload_blocks <= record_body_limit);
  const bool open = !body_.entries.empty();
  if (open && record_body_bytes(body_packed_ + packed_bytes,
                                body_.checksums.size() + payload_blocks) > record_body_limit)
    close_record();
  if (!current_takes(std::max(packed_bytes, worst_step_bytes), payload_blocks,
                     !body_.entries.empty())) {
    close_record();
    if (!current_takes(std::max(packed_bytes, worst_step_bytes), payload_blocks, false))
      switch_segment();
  }
  if (body_.entries.empty()) open_record();
  current_->steps.push_back(static_cast<uint32_t>(current_->entries.size()));
}

void Log::open_record() {
  record_block_ = current_->next_block;
  body_packed_ = 0;
}

const Entry& Log::add(Entry entry, std::span<const std::byte> payload) {
  entry.sequence = ++last_;
  const Entry& added = put(std::move(entry), payload, nullptr);
  start_timer();
  if (early_left_ > 0 && !early_started_ && in_flight_.empty()) {
    early_started_ = true;
    ++background_;
    spawn(write_early());
  }
  return added;
}

// Places a numbered entry behind the ones before. `sums`: of its payload, where they are known.
const Entry& Log::put(Entry entry, std::span<const std::byte> payload, const uint32_t* sums) {
  TailSegment& segment = *current_;
  if (body_.entries.empty()) body_.first = entry.sequence;
  const auto blocks = static_cast<uint32_t>(div_up(payload.size(), block_size));
  const uint32_t offset = record_block_ + 1 + static_cast<uint32_t>(body_.checksums.size());
  if (blocks > 0) {
    entry.offset = offset;
    for (uint32_t i = 0; i < blocks; ++i) {
      const size_t begin = size_t{i} * block_size;
      const auto from = payload.subspan(begin, std::min<size_t>(payload.size() - begin, block_size));
      const std::span<std::byte> to = segment.memory.blocks(offset + i, 1);
      const uint32_t sum = put_block(from, to, sums ? &sums[i] : nullptr);
      (*segment.sums)[offset + i] = sum;
      body_.checksums.push_back(sum);
    }
  }
  if (segment.first == 0) segment.first = entry.sequence;
  segment.last = entry.sequence;
  repeated_.note(entry);
  const size_t packed = packed_entry_size(entry, body_.first);
  body_packed_ += packed;
  segment.entry_bytes += packed_entry_size(entry, segment.first);
  segment.entries.push_back(entry);
  body_.entries.push_back(std::move(entry));
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

void Log::switch_segment() {
  LAMINA_CHECK(permit_.has_value());
  // On disks in turn: E8, and so that one of them may fail (A19).
  const auto taken =
      space_.take(SegmentClass::log, *std::exchange(permit_, std::nullopt), next_.back().blob);
  LAMINA_CHECK(taken.has_value());  // what it was promised is not taken back while it works
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
  if (mutated(Mutation::repeat_nothing)) header.previous_at = {}, header.previous = {};
  last_checksum_ = pack_record(header, identity_.secret, segment->name.blob, segment->name.index,
                               segment->memory.blocks(record_block_, 1));
  starts_epoch_ = false;
  cut_sequence_ = 0;
  cut_checksum_ = 0;
  witnessed_ = durable_;
  previous_at_ = header.at;
  previous_ = std::move(header.body);
  body_ = {};
  body_.entries.reserve(previous_.entries.size());
  body_.checksums.reserve(previous_.checksums.size());

  auto record = std::make_shared<InFlight>();
  record->segment = segment;
  record->through = through;
  record->end = record_block_ + 1 + static_cast<uint32_t>(previous_.checksums.size());
  record->last = closed_ = previous_.first + previous_.entries.size() - 1;
  record_ends_.push_back({closed_, last_checksum_, record->end});
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
  if (on_record) on_record(since_cut_, last_ - cut_last_, repeats_all());
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
  if (early_left_ > 0 && !body_.entries.empty() && works() && !stopping_) {
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
  Blob& blob = space_.blob(segment.name.blob);
  const uint64_t bytes = uint64_t{record->end - record->begin} * block_size;
  IoBatch batch;
  const auto memory = segment.memory.blocks(record->begin, record->end - record->begin);
  const uint64_t offset = blob.offset(segment.name.index, record->begin);
  if (record->through)
    batch.write_through(blob.disk(), offset, memory);
  else
    batch.write(blob.disk(), offset, memory);
  counters_.add(Cause::payload, bytes - block_size);
  counters_.add(Cause::record_headers, block_size);
  co_await batch;
  Lock lock(order_);
  if (!record->through) unflushed_.insert(segment.name.blob);
  record->written = true;
  if (!batch.ok() && !mutated(Mutation::trust_failed_write)) {
    auto result = batch.result();
    fail_locked(result.error(), segment.epoch);
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

// Not before all of it is durable: a header that says sealed is a witness of its records (A2).
void Log::maybe_seal(const std::shared_ptr<TailSegment>& segment) {
  if (!segment->full || segment->in_flight > 0 || segment->sealing || segment->sealed) return;
  if (segment->last > durable_ && !mutated(Mutation::seal_early)) return;
  if (phase_ == Phase::ends || phase_ == Phase::failed) return;
  segment->sealing = true;
  ++sealing_;
  ++background_;
  spawn(seal(segment));
}

Task<void> Log::seal(std::shared_ptr<TailSegment> segment) {
  const Epoch epoch = identity_.epoch;  // it is spawned under the lock
  Blob& blob = space_.blob(segment->name.blob);
  if (!segment->memory) segment->memory = Buffer(blob.segment_bytes());
  auto result = co_await seal_log_segment(identity_, blob, *segment,
                                          settings_.background->wall_ns(), counters_);
  Lock lock(order_);
  segment->sealing = false;
  if (result) {
    unflushed_.insert(segment->name.blob);
    space_.seal(segment->name.generation, segment->next_block);
    space_.settle(segment->name.generation, segment->last);
    space_.set_oldest(segment->name.generation, segment->first);
    segment->sealed = true;
    segment.reset();  // so that its memory is used again
    release_durable();
  } else {
    fail_locked(result.error(), epoch);
  }
  --sealing_;
  --background_;
  changed_.wake_all();
}

void Log::release_durable() {
  // Until everything is pointed at its new place, what is void is read from memory (A19).
  if (phase_ == Phase::begins || phase_ == Phase::failed) return;
  while (!held_.empty() && held_.front()->sealed && held_.front()->last <= durable_) {
    TailSegment& segment = *held_.front();
    put_sums(sums_, segment);
    if (!segment.seal_durable) {
      // All that a seal is made of; the memory goes.
      auto seal = std::make_shared<TailSegment>();
      seal->name = segment.name;
      seal->epoch = segment.epoch;
      seal->sums = segment.sums;
      seal->next_block = segment.next_block;
      seal->first = segment.first;
      seal->last = segment.last;
      seal->entries = std::move(segment.entries);
      seal->entry_bytes = segment.entry_bytes;
      seal->full = seal->sealed = true;
      sealed_.push_back(std::move(seal));
    }
    tail_.remove(segment.name.generation);
    sums_.unpin(segment.name.generation);
    // A reader may still be copying from it, then the memory goes with that reader.
    if (held_.front().use_count() == 1 && segment.memory &&
        spare_.size() + held_.size() <= held_limit())
      spare_.push_back(std::move(segment.memory));
    held_.pop_front();
  }
}

}  // namespace lamina
