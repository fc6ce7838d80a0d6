// SPDX-License-Identifier: Apache-2.0
#include "engine/space/move_pace.h"

#include <algorithm>

#include "engine/pool_state.h"

namespace lamina {
namespace {

// Whoever did something within that time is at work.
constexpr uint64_t quiet_ns = 10'000'000;
// How long it waits before it looks again.
constexpr uint64_t slice_ns = 5'000'000;
// A step that took longer than it should is made up for, so far.
constexpr uint64_t most_credit_ns = 100'000'000;
constexpr uint64_t sample_ns = 100'000'000, look_ns = 30'000'000;
constexpr uint64_t second_ns = 1'000'000'000;
// Of the time that users' room lasts a batch takes no more.
constexpr uint64_t part_of_time = 2;
// What is sorted at once takes memory; and what a batch costs, however small it is, is to be
// spread.
constexpr uint64_t most_batch_bytes = 2 * gib, least_batch_bytes = 64 * mib;
// Read at once: beside users, in order not to be before them in the queue of a disk.
constexpr uint64_t window_bytes = 16 * mib, window_beside_users = mib;

uint64_t whole(double value) {
  constexpr double most = 1e18;
  return static_cast<uint64_t>(std::min(value, most));
}

}  // namespace

// Bytes that are moved in that part of the time that the room lasts, at so many a second; and the
// other way round.
uint64_t batch_of(const PaceNeed& need) {
  if (need.users_write == 0) return UINT64_MAX;
  const double lasts_s =
      static_cast<double>(need.room) / static_cast<double>(need.users_write) / part_of_time;
  return whole(static_cast<double>(need.least) * lasts_s);
}

uint64_t pace_of(const PaceNeed& need) {
  if (need.room == 0) return UINT64_MAX;
  const double a_second = static_cast<double>(need.left) * static_cast<double>(need.users_write) *
                          part_of_time / static_cast<double>(need.room);
  return std::max(need.least, whole(a_second));
}

void MovePace::begin(uint64_t blocks) {
  all_ = blocks * block_size;
  copied_ = owed_ = 0;
  used_ = pool_.counters.used_by_users();
  begun_ns_ = pool_.settings.background->now_ns();
}

void MovePace::note_copied(uint64_t bytes) {
  owed_ += bytes;
  copied_ += bytes;
}

bool MovePace::users_at_work(uint64_t now_ns) {
  const uint64_t used = pool_.counters.used_by_users(), written = pool_.counters.written_user;
  if (used != used_) last_use_ns_ = now_ns;
  used_ = used;
  if (now_ns - looked_ns_ >= sample_ns) {
    const double seconds = static_cast<double>(now_ns - looked_ns_) / second_ns;
    const double now = static_cast<double>(written - written_) / seconds;
    users_write_ = (users_write_ + whole(now)) / 2;
    written_ = written;
    looked_ns_ = now_ns;
  }
  return last_use_ns_ + quiet_ns > now_ns;
}

PaceNeed MovePace::need() const {
  const Space& space = pool_.space;
  const uint64_t left = all_ - std::min<uint64_t>(all_, copied_);
  return {.left = 2 * left,
          .room = space.available(Claim::user) * space.segment_blocks() * block_size,
          .users_write = users_write_,
          .least = beside_users_ * Pieces::jobs(pool_.settings.workers)};
}

// Who has just ended is not told from who goes on but by waiting, nor how fast he does.
Task<void> MovePace::look() {
  const Executor& clock = *pool_.settings.background;
  if (!users_at_work(clock.now_ns())) {
    users_write_ = 0;
    co_return;
  }
  if (pool_.space.tier_count() == 1 || pool_.reclaimer.users_wait()) co_return;
  const uint64_t written = pool_.counters.written_user, began = clock.now_ns();
  const Sleep watching{look_ns};
  co_await watching;
  const uint64_t now = clock.now_ns();
  const bool at_work = users_at_work(now);
  const double seconds = static_cast<double>(now - began) / second_ns;
  users_write_ =
      at_work ? whole(static_cast<double>(pool_.counters.written_user - written) / seconds) : 0;
}

uint64_t MovePace::most_blocks() const {
  if (pool_.reclaimer.users_wait()) return least_batch_bytes / block_size;
  return std::clamp(batch_of(need()) / 2, least_batch_bytes, most_batch_bytes) / block_size;
}

Task<void> MovePace::rest() {
  const Executor& clock = *pool_.settings.background;
  const uint64_t bytes = std::exchange(owed_, 0);
  uint64_t now = clock.now_ns(), end = now;
  for (;;) {
    const bool free = !users_at_work(now) || pool_.reclaimer.users_wait() || pool_.closing();
    const uint64_t rate = free ? UINT64_MAX : pace_of(need());
    const double takes_ns = static_cast<double>(bytes) * second_ns / static_cast<double>(rate);
    end = free ? now : begun_ns_ + static_cast<uint64_t>(takes_ns);
    if (end <= now) break;
    const Sleep slice{std::min(slice_ns, end - now)};
    co_await slice;
    now = clock.now_ns();
  }
  begun_ns_ = std::max(end, now - std::min(now, most_credit_ns));
}

bool MovePace::alone() const {
  return last_use_ns_ + quiet_ns <= pool_.settings.background->now_ns();
}

uint64_t MovePace::window() const {
  return alone() ? window_bytes : window_beside_users;
}

}  // namespace lamina
