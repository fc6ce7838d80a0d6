// SPDX-License-Identifier: Apache-2.0
#include "engine/scrub/scrubber.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/buffer.h"
#include "engine/pool_state.h"
#include "engine/scrub/verify_segment.h"
#include "engine/scrub/zeroes.h"

namespace lamina {
namespace {

// Beside users, for each worker: only read, and compared.
constexpr uint64_t bytes_beside_users = 50 * mib;
constexpr uint64_t read_again_blocks = 256;  // at once

bool is_in(const ScrubPosition& position, const Segment& segment) {
  return segment.holds_data() && is_written(segment) && segment.name.generation >= position.next &&
         segment.name.generation < position.end;
}

uint64_t payload_bytes(const Segment& segment) {
  return uint64_t{segment.used_blocks} * block_size;
}

}  // namespace

Scrubber::Scrubber(PoolState& pool) : pool_(pool), pace_(pool, bytes_beside_users) {}

void Scrubber::ask() {
  Lock lock(mutex_);
  ++status_.asked;
  position_.stopped = false;
}

void Scrubber::stop() {
  Lock lock(mutex_);
  stopped_ = status_.asked;
  position_.stopped = true;
}

bool Scrubber::wanted() const {
  Lock lock(mutex_);
  return status_.asked > status_.answered;
}

ScrubPosition Scrubber::position() const {
  Lock lock(mutex_);
  return position_;
}

void Scrubber::set_position(const ScrubPosition& position) {
  Lock lock(mutex_);
  position_ = position;
}

ScrubStatus Scrubber::status() const {
  ScrubStatus status;
  {
    Lock lock(mutex_);
    status = status_;
    status.under_way = position_.under_way();
    status.done_bytes = position_.done_bytes;
    status.bad_bytes = position_.bad_bytes;
    status.began_ns = position_.began_ns;
    status.ended_ns = position_.ended_ns;
  }
  status.all_bytes = status.done_bytes;
  for (const Segment& segment : segments_left()) status.all_bytes += payload_bytes(segment);
  return status;
}

Result<> Scrubber::go_on() const {
  if (pool_.closing()) return fail(Code::busy, "the pool was closed");
  Lock lock(mutex_);
  if (stopped_ >= status_.asked) return fail(Code::busy, "it was stopped");
  return {};
}

std::vector<Segment> Scrubber::segments_left() const {
  const ScrubPosition position = this->position();
  std::vector<Segment> left = pool_.space.segments();
  std::erase_if(left, [&](const Segment& segment) { return !is_in(position, segment); });
  std::ranges::sort(left, {}, [](const Segment& segment) { return segment.name.generation; });
  return left;
}

Task<void> Scrubber::run() {
  uint64_t asked = 0;
  {
    Lock lock(mutex_);
    asked = status_.asked;
    status_.running = true;
    status_.ended.clear();
  }
  Task<Result<>> passing = pass();
  const Result<> passed = co_await passing;
  if (!passed && !pool_.closing())
    pool_.settings.log(Settings::Severity::warning,
                       "scrubbing has ended early: " + passed.error().message);
  Lock lock(mutex_);
  status_.running = false;
  status_.ended = passed ? "done" : passed.error().message;
  status_.answered = asked;
}

void Scrubber::begin() {
  const Generation end = pool_.space.next_generation();
  const uint64_t now = pool_.settings.background->wall_ns();
  Lock lock(mutex_);
  const uint64_t ended = position_.ended_ns;
  position_ = {};
  position_.next = Generation{1};
  position_.end = end;
  position_.began_ns = now;
  position_.ended_ns = ended;
}

Task<Result<>> Scrubber::pass() {
  // What segments have is in maps, and so found.
  Task<Result<>> merging = pool_.checkpointer.run();
  LAMINA_CO_TRY(co_await merging);
  if (!position().under_way()) {
    // What users can read comes from memory too: before the media are looked at.
    Task<Result<>> forgetting = forget_what_is_readable();
    LAMINA_CO_TRY(co_await forgetting);
    begin();
  }
  Task<Result<uint64_t>> healing = pool_.healer.heal_all();
  const Result<uint64_t> healed = co_await healing;
  if (!healed) co_return std::unexpected<Error>(healed.error());
  Task<Result<>> dropping = let_zeroes_go();
  LAMINA_CO_TRY(co_await dropping);
  pace_.begin(0);
  for (const Segment& segment : segments_left()) {
    LAMINA_CO_TRY(go_on());
    Task<Result<>> verifying = verify(segment.name.generation);
    LAMINA_CO_TRY(co_await verifying);
    Lock lock(mutex_);
    position_.done_bytes += payload_bytes(segment);
    position_.next = Generation{raw(segment.name.generation) + 1};
  }
  const ScrubPosition ended = position();
  pool_.settings.log(ended.bad_bytes > 0 ? Settings::Severity::error : Settings::Severity::info,
                     "scrubbed " + std::to_string(ended.done_bytes) + " bytes; " +
                         std::to_string(ended.bad_bytes) + " bytes of data are damaged");
  const uint64_t now = pool_.settings.background->wall_ns();
  Lock lock(mutex_);
  position_.next = position_.end = Generation::none;
  position_.ended_ns = now;
  co_return Result<>{};
}

// Bad metadata has been healed by now, as far as it can be. What keeps the zeroes is no reason not
// to look at the data.
Task<Result<>> Scrubber::let_zeroes_go() {
  Task<Result<DroppedZeroes>> dropping = drop_zeroes(pool_, next_home_, [this] { return go_on(); });
  const Result<DroppedZeroes> dropped = co_await dropping;
  LAMINA_CO_TRY(go_on());
  if (!dropped) {
    pool_.settings.log(Settings::Severity::info,
                       "zeroes that may hide nothing any more stay for now: " +
                           dropped.error().message);
    co_return Result<>{};
  }
  next_home_ = dropped->next;
  if (dropped->extents > 0)
    pool_.settings.log(Settings::Severity::info,
                       std::to_string(dropped->extents) +
                           " zeroes that hid nothing any more have left the maps (C4)");
  Lock lock(mutex_);
  status_.zeroes_dropped += dropped->extents;
  co_return Result<>{};
}

// What is gone was dead, or lies elsewhere, verified when it was moved.
Task<Result<>> Scrubber::verify(Generation generation) {
  Task<Result<VerifiedSegment>> verifying = verify_segment(pool_, generation, pace_);
  auto verified = co_await verifying;
  if (!verified && verified.error().code == Code::not_found) co_return Result<>{};
  if (!verified) co_return forward_error(verified);
  {
    Lock lock(mutex_);
    status_.verified_bytes += verified->bytes;
  }
  if (verified->bad.empty()) co_return Result<>{};
  Task<Result<>> listing = list_bad(std::move(verified->bad));
  co_return co_await listing;
}

// What several have is each one's loss.
Task<Result<>> Scrubber::list_bad(std::vector<MovedParts::Part> bad) {
  Task<Result<std::vector<MediumUser>>> finding =
      all_medium_users(pool_, std::move(bad), [this] { return go_on(); });
  auto users = co_await finding;
  if (!users) co_return forward_error(users);
  for (const MediumUser& user : *users) pool_.report_unreadable(user.map, user.range);
  Lock lock(mutex_);
  for (const MediumUser& user : *users) position_.bad_bytes += user.range.length().bytes();
  co_return Result<>{};
}

Task<Result<>> Scrubber::forget_what_is_readable() {
  std::vector<LostRange> listed;
  {
    Lock order(pool_.log.order());
    listed = pool_.devices.lost;
  }
  Buffer memory(read_again_blocks * block_size);
  for (const LostRange& range : listed) {
    DevicePtr device;
    {
      Lock order(pool_.log.order());
      device = pool_.devices.find(range.device);
    }
    bool readable = true;
    for (DeviceBlock at = range.range.begin; device && readable && at < range.range.end;) {
      LAMINA_CO_TRY(go_on());
      const DeviceBlock end = std::min(range.range.end, at + BlockCount{read_again_blocks});
      const std::shared_ptr<ThinMap> map = pool_.map_of(*device);
      const BlockRange part{at, end};
      Task<Result<>> reading =
          pool_.read_blocks(*map, part, memory.span().first(part.length().bytes()));
      readable = (co_await reading).has_value();
      at = end;
    }
    if (!readable) continue;
    Lock order(pool_.log.order());
    std::erase_if(pool_.devices.lost, [&](const LostRange& one) {
      return one.device == range.device && one.range == range.range;
    });
  }
  co_return Result<>{};
}

}  // namespace lamina
