// SPDX-License-Identifier: Apache-2.0
// Runs coroutines in virtual time and completes disk operations in an order that a seed decides:
// what UringLoop is in production, for the simulator. The same seed and the same program give the
// same run.
// Thread-safety: none; everything happens on the thread that calls run(). One per run: after a
//   crash it runs nothing any more and a new one takes over.
// Ownership: of nothing that it resumes. What a crash stops where it was is abandoned, never
//   destroyed: destructors would do what a process without power does not do. The frames stay
//   reachable from a global list, so that LeakSanitizer stays quiet about what hangs on them; what
//   waits for something else than this executor (a queue of locks) counts as leaked unless it is
//   reachable from there too. A program that crashes thousands of pools forks now and then.
// Units: nanoseconds.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <utility>

#include "base/executor.h"
#include "base/task.h"
#include "blobs/disk.h"

namespace lamina {

class SimExecutor final : public Executor {
 public:
  // `start_ns`: the monotonic clock's first value; the wall clock is a constant ahead of it.
  explicit SimExecutor(uint64_t seed, uint64_t start_ns = 0);
  ~SimExecutor() override;

  // Runs until nothing is ready, no operation is pending and no timer is due before
  // `until_ns`; time then stands at `until_ns`, if one was given. false: stopped by a crash.
  bool run(uint64_t until_ns = UINT64_MAX);
  // Runs until `task` has ended, whatever else still waits. false if a crash came first; the task
  // is then abandoned where it was. A task that waits for something that can never come is
  // a deadlock, which is an assertion.
  template <class T>
  bool run_until(Task<T> task, T& out);
  bool run_until(Task<void> task);

  // After `steps` more completed disk operations everything stops, as if power were cut. The last
  // completion is still delivered; what it makes ready runs or not, as the seed decides.
  void crash_after(uint64_t steps);
  bool crashed() const;
  uint64_t steps() const;  // disk operations completed so far

  std::mt19937_64& random();

  void post(std::coroutine_handle<> handle) override;
  void resume_at(uint64_t deadline_ns, std::coroutine_handle<> handle) override;
  uint64_t now_ns() const override;
  uint64_t wall_ns() const override;

  // For disks: at a moment that the seed chooses, calls `finish` and completes `operation` with
  // the errno that it returns. That is one step.
  void complete_later(DiskOperation& operation, std::function<int()> finish);

 private:
  struct State;

  // Does one thing; false if there is nothing to do before `until_ns`.
  bool turn(uint64_t until_ns);
  bool run_while_not(const bool& done);
  void resume_next();
  void complete_one();
  void fire_due_timers();
  void stop_here();

  template <class T>
  static detail::Detached drive(Task<T> task, T* out, bool* done);
  static detail::Detached drive(Task<void> task, bool* done);

  std::unique_ptr<State> state_;
};

template <class T>
detail::Detached SimExecutor::drive(Task<T> task, T* out, bool* done) {
  co_await Yield{};
  T value = co_await task;
  *out = std::move(value);
  *done = true;
}

inline detail::Detached SimExecutor::drive(Task<void> task, bool* done) {
  co_await Yield{};
  co_await task;
  *done = true;
}

template <class T>
bool SimExecutor::run_until(Task<T> task, T& out) {
  bool done = false;
  Executor* const before = set_current(this);
  drive(std::move(task), &out, &done);
  const bool ended = run_while_not(done);
  set_current(before);
  return ended;
}

inline bool SimExecutor::run_until(Task<void> task) {
  bool done = false;
  Executor* const before = set_current(this);
  drive(std::move(task), &done);
  const bool ended = run_while_not(done);
  set_current(before);
  return ended;
}

}  // namespace lamina
