// SPDX-License-Identifier: Apache-2.0
// What runs beside the users: checkpoints when they are due, then the space that comes back.
#include <algorithm>
#include <utility>

#include "engine/pool_state.h"

namespace lamina {
namespace {

constexpr uint64_t pool_part = 16;   // of a small pool: a checkpoint each sixteenth of it
constexpr uint64_t free_part = 2;    // of what is free for users
constexpr uint64_t look_part = 32;   // of a pool that may have become fuller by a step
constexpr uint64_t log_minimum = 4;  // segments: checkpoints are not worth it more often
constexpr int follow_up_limit = 8;   // checkpoints in a row to get space back
constexpr uint64_t gather_ns = 100'000'000;
constexpr uint64_t unrepeated_ns = 10'000'000'000;
constexpr int figures_attempts = 32;  // of a walk that is given up
// Between two looks at what is idle.
constexpr uint64_t idle_look_least_ns = 100'000'000, idle_look_most_ns = 10'000'000'000;
constexpr uint64_t idle_part = 8;  // of the time after which data is idle
constexpr uint64_t cut_part = 2;   // and between two cuts

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

// Under the lock under which those who ask find out whether somebody works.
bool PoolState::wanted_again(const std::function<bool()>& wanted, bool PoolState::*once) {
  Lock lock(background_mutex_);
  if (!closing_ && wanted()) return true;
  this->*once = false;
  return false;
}

bool PoolState::closing() const {
  Lock lock(background_mutex_);
  return closing_;
}

void PoolState::start_checkpoint() {
  start_in_background(&PoolState::checkpoint_and_reclaim, &PoolState::checkpoint_started_);
}

// B5: what is neither in data nor beside the log is in a checkpoint some time later.
void PoolState::start_checkpoint_soon() {
  start_in_background(&PoolState::checkpoint_soon, &PoolState::checkpoint_soon_);
}

Task<void> PoolState::checkpoint_soon() {
  co_await sleep_unless_closing(unrepeated_ns);
  {
    Lock lock(background_mutex_);
    checkpoint_soon_ = false;
  }
  {
    Lock order(log.order());
    if (log.repeats_all()) co_return;
  }
  if (closing()) co_return;
  const auto made = co_await checkpointer.run();
  static_cast<void>(made);  // the log's health says why not
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

Task<void> PoolState::sleep_unless_closing(uint64_t duration_ns) {
  for (uint64_t left = duration_ns; left > 0 && !closing();) {
    const uint64_t part = std::min(left, gather_ns);
    co_await Sleep{part};
    left -= part;
  }
}

Task<void> PoolState::show_space() {
  // Removals in a row are shown together.
  co_await sleep_unless_closing(std::max(gather_ns, walker.pause_ns()));
  {
    Lock lock(background_mutex_);
    showing_started_ = false;  // what is removed from now on is shown by another
  }
  if (closing()) co_return;
  auto result = co_await checkpointer.run();
  if (result && maybe_dead_blocks() > 0)
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
    if (!wanted_again([&] { return walker.asked() != asked; }, &PoolState::figures_started_))
      co_return;
  }
}

void PoolState::start_aging_all() {
  ++aging_asked;
  start_in_background(&PoolState::answer_aging, &PoolState::aging_started_);
}

Task<void> PoolState::answer_aging() {
  for (;;) {
    const uint64_t asked = aging_asked;
    auto aged = co_await reclaimer.age_all();
    if (!aged)
      settings.log(Settings::Severity::warning, "aging has ended early: " + aged.error().message);
    aging_answered = asked;
    if (!wanted_again([&] { return aging_asked != asked; }, &PoolState::aging_started_)) co_return;
  }
}

void PoolState::start_defragmenting(std::vector<DeviceId> wanted) {
  defragmenter.ask(std::move(wanted));
  start_in_background(&PoolState::answer_defragmenting, &PoolState::defragmenting_started_);
}

Task<void> PoolState::answer_defragmenting() {
  do co_await defragmenter.run();
  while (wanted_again([this] { return defragmenter.wanted(); }, &PoolState::defragmenting_started_));
}

void PoolState::start_scrubbing() {
  scrubber.ask();
  start_in_background(&PoolState::answer_scrubbing, &PoolState::scrubbing_started_);
}

void PoolState::go_on_scrubbing() {
  const ScrubPosition position = scrubber.position();
  if (position.under_way() && !position.stopped) start_scrubbing();
}

Task<void> PoolState::answer_scrubbing() {
  do co_await scrubber.run();
  while (wanted_again([this] { return scrubber.wanted(); }, &PoolState::scrubbing_started_));
}

void PoolState::start_checking(bool data) {
  checker.ask(data);
  start_in_background(&PoolState::answer_checking, &PoolState::checking_started_);
}

Task<void> PoolState::answer_checking() {
  do co_await checker.run();
  while (wanted_again([this] { return checker.wanted(); }, &PoolState::checking_started_));
}

void PoolState::start_following_pins() {
  start_in_background(&PoolState::follow_pins, nullptr);
}

Task<void> PoolState::follow_pins() {
  auto result = co_await checkpointer.run();  // what is written is below a cut
  if (result) result = co_await pin_mover.settle();
  if (!result)
    settings.log(Settings::Severity::warning,
                 "data could not be brought where it is pinned: " + result.error().message);
}

void PoolState::start_watching_idle() {
  if (space.tier_count() > 1)
    start_in_background(&PoolState::watch_idle, &PoolState::watching_started_);
}

void PoolState::start_emptying() {
  start_in_background(&PoolState::empty_leaving, &PoolState::emptying_started_);
}

Task<void> PoolState::empty_leaving() {
  do co_await members.empty();
  while (wanted_again([this] { return members.to_be_emptied(); }, &PoolState::emptying_started_));
}

// Users' checkpoints move what they leave no room for; what nobody touches has nobody who would.
// Only what lies below a cut is moved, cuts tell how old it is, and a batch that has been moved is
// true with the next one; so there is one now and then even where there is too little in the log to
// be worth it.
Task<void> PoolState::watch_idle() {
  uint64_t idle_ns = UINT64_MAX;
  for (size_t tier = 0; tier + 1 < space.tier_count(); ++tier)
    idle_ns = std::min(idle_ns, aging_of(tier).idle_ns);
  const uint64_t period = std::clamp(idle_ns / idle_part, idle_look_least_ns, idle_look_most_ns);
  const auto last_entry = [this] {
    Lock order(log.order());
    return log.last();
  };
  Sequence cut = checkpointer.cut(), last = last_entry();
  uint64_t cut_at_ns = settings.background->now_ns();
  while (!closing()) {
    co_await sleep_unless_closing(period);
    const uint64_t now_ns = settings.background->now_ns();
    const Sequence newest = checkpointer.cut();
    if (newest != cut) cut_at_ns = now_ns;
    cut = newest;
    const Sequence before = std::exchange(last, last_entry());
    const bool quiet = last == before;  // else somebody else's checkpoint comes
    const bool due = (quiet && checkpointer.has_moves()) || now_ns - cut_at_ns >= idle_ns / cut_part;
    if (due && log.health() && !closing()) {
      cut_at_ns = now_ns;
      const auto settled = co_await checkpointer.run();
      static_cast<void>(settled);  // the log's health says why not
    }
    while (!closing() && log.health() && reclaimer.would_move()) {
      auto moved = co_await reclaimer.after_checkpoint();
      if (!moved || !checkpointer.has_moves()) break;
      moved = co_await checkpointer.run(true);
      if (!moved) break;
    }
    if (closing() || !log.health()) continue;
    const auto settled = co_await pin_mover.settle();
    const auto promoted = co_await promoter.settle();
    static_cast<void>(settled);  // they are tried again
    static_cast<void>(promoted);
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
