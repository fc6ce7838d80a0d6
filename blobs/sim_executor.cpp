// SPDX-License-Identifier: Apache-2.0
#include "blobs/sim_executor.h"

#include <algorithm>
#include <deque>
#include <vector>

#include "base/check.h"

namespace lamina {
namespace {

constexpr uint64_t wall_ahead_ns = 1'767'225'600'000'000'000;  // 2026-01-01
constexpr uint64_t resume_cost_ns = 200;  // so that a loop of Yields sees time pass
constexpr uint64_t fastest_operation_ns = 5'000, slowest_operation_ns = 200'000;

// Chances, one in so many turns: small enough that a run goes on, large enough that a short
// one meets them.
constexpr uint64_t operation_before_ready = 4;   // a completion overtakes what is ready
constexpr uint64_t timer_before_operation = 32;  // a disk that is slow: time passes it by

struct Timer {
  uint64_t deadline_ns;
  uint64_t order;  // the first to wait is the first to go on
  std::coroutine_handle<> handle;
  friend bool operator<(const Timer& a, const Timer& b) {  // for a heap with the earliest on top
    return a.deadline_ns != b.deadline_ns ? a.deadline_ns > b.deadline_ns : a.order > b.order;
  }
};

struct PendingOperation {
  DiskOperation* operation;
  std::function<int()> finish;
};

// What crashes abandoned, for LeakSanitizer to find.
std::vector<const void*>& abandoned() {
  static auto* const frames = new std::vector<const void*>;
  return *frames;
}

}  // namespace

struct SimExecutor::State {
  explicit State(uint64_t seed, uint64_t start_ns) : random(seed), now_ns(start_ns) {}

  bool one_in(uint64_t n) { return random() % n == 0; }

  std::mt19937_64 random;
  uint64_t now_ns;
  uint64_t steps = 0;
  uint64_t crash_at = UINT64_MAX;  // steps
  bool crashed = false;
  uint64_t timers_made = 0;
  std::deque<std::coroutine_handle<>> ready;
  std::vector<Timer> timers;  // a heap
  std::vector<PendingOperation> pending;
};

SimExecutor::SimExecutor(uint64_t seed, uint64_t start_ns)
    : state_(std::make_unique<State>(seed, start_ns)) {}

SimExecutor::~SimExecutor() {
  stop_here();
}

std::mt19937_64& SimExecutor::random() {
  return state_->random;
}
bool SimExecutor::crashed() const {
  return state_->crashed;
}
uint64_t SimExecutor::steps() const {
  return state_->steps;
}
uint64_t SimExecutor::now_ns() const {
  return state_->now_ns;
}
uint64_t SimExecutor::wall_ns() const {
  return wall_ahead_ns + state_->now_ns;
}

void SimExecutor::crash_after(uint64_t steps) {
  state_->crash_at = state_->steps + steps;
}

void SimExecutor::post(std::coroutine_handle<> handle) {
  if (state_->crashed) {
    abandoned().push_back(handle.address());
    return;
  }
  state_->ready.push_back(handle);
}

void SimExecutor::resume_at(uint64_t deadline_ns, std::coroutine_handle<> handle) {
  if (state_->crashed) {
    abandoned().push_back(handle.address());
    return;
  }
  state_->timers.push_back({deadline_ns, state_->timers_made++, handle});
  std::push_heap(state_->timers.begin(), state_->timers.end());
}

void SimExecutor::complete_later(DiskOperation& operation, std::function<int()> finish) {
  if (state_->crashed) {
    abandoned().push_back(&operation);
    return;
  }
  state_->pending.push_back({&operation, std::move(finish)});
}

// Nothing runs any more: remembers what will never be resumed.
void SimExecutor::stop_here() {
  state_->crashed = true;
  for (const auto& handle : state_->ready) abandoned().push_back(handle.address());
  for (const Timer& timer : state_->timers) abandoned().push_back(timer.handle.address());
  for (const PendingOperation& one : state_->pending) abandoned().push_back(one.operation);
  state_->ready.clear();
  state_->timers.clear();
  state_->pending.clear();
}

void SimExecutor::resume_next() {
  const std::coroutine_handle<> handle = state_->ready.front();
  state_->ready.pop_front();
  state_->now_ns += resume_cost_ns;
  handle.resume();
}

void SimExecutor::complete_one() {
  State& s = *state_;
  std::swap(s.pending[s.random() % s.pending.size()], s.pending.back());
  PendingOperation chosen = std::move(s.pending.back());
  s.pending.pop_back();
  s.now_ns += fastest_operation_ns + s.random() % (slowest_operation_ns - fastest_operation_ns);
  ++s.steps;
  const int error = chosen.finish();
  chosen.operation->complete(error);
}

void SimExecutor::fire_due_timers() {
  State& s = *state_;
  while (!s.timers.empty() && s.timers.front().deadline_ns <= s.now_ns) {
    std::pop_heap(s.timers.begin(), s.timers.end());
    s.ready.push_back(s.timers.back().handle);
    s.timers.pop_back();
  }
}

bool SimExecutor::turn(uint64_t until_ns) {
  State& s = *state_;
  if (s.steps >= s.crash_at) {
    if (s.one_in(2))
      while (!s.ready.empty() && !s.one_in(64)) resume_next();
    stop_here();
    return true;
  }
  fire_due_timers();
  if (!s.ready.empty() && (s.pending.empty() || !s.one_in(operation_before_ready))) {
    resume_next();
    return true;
  }
  const bool timer = !s.timers.empty() && s.timers.front().deadline_ns < until_ns;
  if (!s.pending.empty() && !(timer && s.one_in(timer_before_operation))) {
    complete_one();
    return true;
  }
  if (!timer) return false;
  s.now_ns = std::max(s.now_ns, s.timers.front().deadline_ns);
  fire_due_timers();
  return true;
}

bool SimExecutor::run(uint64_t until_ns) {
  Executor* const before = set_current(this);
  while (!state_->crashed && turn(until_ns)) {
  }
  set_current(before);
  if (state_->crashed) return false;
  if (until_ns != UINT64_MAX) state_->now_ns = std::max(state_->now_ns, until_ns);
  return true;
}

bool SimExecutor::run_while_not(const bool& done) {
  while (!done && !state_->crashed) {
    const bool did_something = turn(UINT64_MAX);
    LAMINA_CHECK(did_something);  // otherwise the task waits for what can never come
  }
  return done;
}

}  // namespace lamina
