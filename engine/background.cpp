// SPDX-License-Identifier: Apache-2.0
// What runs beside the users: checkpoints when they are due, then the space that comes back.
#include <algorithm>

#include "engine/pool_state.h"

namespace lamina {
namespace {

constexpr uint64_t pool_part = 16;   // of a small pool: a checkpoint each sixteenth of it
constexpr uint64_t free_part = 2;    // of what is free for users
constexpr uint64_t look_part = 32;   // of a pool that may have become fuller by a step
constexpr uint64_t log_minimum = 4;  // segments: checkpoints are not worth it more often
constexpr int follow_up_limit = 8;   // checkpoints in a row to get space back
constexpr uint64_t gather_ns = 100'000'000;
constexpr int figures_attempts = 32;  // of a walk that is given up

}  // namespace

// E3, D5: by bytes of log, by what waits in layers, and by free segments; sooner where it is time
// to tell of low space, if what came in is new.
bool PoolState::checkpoint_due(uint64_t bytes, uint64_t entries) const {
  const uint64_t segment = uint64_t{space.segment_blocks()} * block_size;
  const bool fuller =
      fullness.would_rise(used_blocks_bound() * block_size, space.capacity_blocks() * block_size);
  const uint64_t by_pool = space.total() * segment / (fuller ? look_part : pool_part);
  const uint64_t by_free = space.available(Claim::user) * segment / free_part;
  const uint64_t limit = std::min({settings.checkpoint_log_bytes, by_pool, by_free});
  return bytes >= std::max(limit, log_minimum * segment) || entries >= log.entry_limit() / 2;
}

void PoolState::start_in_background(Task<void> (PoolState::*work)(), bool PoolState::*once) {
  {
    Lock lock(background_mutex_);
    if (closing_ || (once && this->*once)) return;
    if (once) this->*once = true;
    ++background_;
  }
  spawn(run_in_background(work));
}

Task<void> PoolState::run_in_background(Task<void> (PoolState::*work)()) {
  co_await Yield{};  // it is spawned under locks
  SwitchTo background{*settings.background};
  co_await background;
  Task<void> working = (this->*work)();
  co_await working;
  Lock lock(background_mutex_);
  --background_;
  background_ended_.wake_all();
}

bool PoolState::closing() const {
  Lock lock(background_mutex_);
  return closing_;
}

void PoolState::start_checkpoint() {
  start_in_background(&PoolState::checkpoint_and_reclaim, &PoolState::checkpoint_started_);
}

Task<void> PoolState::checkpoint_and_reclaim() {
  auto result = co_await checkpointer.run();
  for (int again = 0; result && again < follow_up_limit; ++again) {
    result = co_await reclaimer.after_checkpoint();
    if (!result || !reclaimer.more_to_gain()) break;
    result = co_await checkpointer.run(true);
  }
  if (!result && result.error().code != Code::no_space)
    log.fail_with(result.error(), identity.epoch);
  co_await reclaimer.prepare_ahead();
  Lock lock(background_mutex_);
  checkpoint_started_ = false;
}

void PoolState::start_preparing() {
  start_in_background(&PoolState::prepare, nullptr);
}

Task<void> PoolState::prepare() {
  co_await reclaimer.prepare_ahead();
}

void PoolState::start_showing_space() {
  start_in_background(&PoolState::show_space, &PoolState::showing_started_);
}

Task<void> PoolState::show_space() {
  // Removals in a row are shown together.
  for (uint64_t left = std::max(gather_ns, walker.pause_ns()); left > 0 && !closing();) {
    const uint64_t part = std::min(left, gather_ns);
    co_await Sleep{part};
    left -= part;
  }
  {
    Lock lock(background_mutex_);
    showing_started_ = false;  // what is removed from now on is shown by another
  }
  if (closing()) co_return;
  auto result = co_await checkpointer.run();
  if (result && walker.would_find_less())
    result = co_await reclaimer.measure(Reclaimer::Wanted::figures);
  // What the maps that are gone had of nodes is free with the next checkpoint.
  if (result && checkpointer.has_unreachable()) result = co_await checkpointer.run();
}

void PoolState::start_figures() {
  walker.ask();
  start_in_background(&PoolState::answer_figures, &PoolState::figures_started_);
}

Task<void> PoolState::answer_figures() {
  for (;;) {
    const uint64_t asked = walker.asked();
    auto counted = co_await count_figures();
    if (!counted)
      settings.log(Settings::Severity::warning,
                   "what devices share could not be counted: " + counted.error().message);
    walker.answer(asked);
    Lock lock(background_mutex_);
    if (walker.asked() != asked && !closing_) continue;
    figures_started_ = false;
    co_return;
  }
}

Task<Result<>> PoolState::count_figures() {
  LAMINA_CO_TRY(writable());
  for (int attempt = 0;; ++attempt) {
    LAMINA_CO_TRY(co_await checkpointer.run());
    auto measured = co_await reclaimer.measure(Reclaimer::Wanted::figures);
    const bool given_up = !measured && measured.error().code == Code::busy;
    if (!given_up || attempt == figures_attempts || closing()) co_return measured;
    co_await Sleep{gather_ns};
  }
}

Task<void> PoolState::wait_for_background() {
  for (;;) {
    Completion completion;
    {
      Lock lock(background_mutex_);
      closing_ = true;
      if (background_ == 0) co_return;
      background_ended_.add(completion);
    }
    co_await completion;
  }
}

}  // namespace lamina
