// SPDX-License-Identifier: Apache-2.0
// Where coroutines run: one executor a thread, each with its own ring, or one for everything in
// the simulator. A coroutine that waits is resumed on the executor that it waited on.
// Thread-safety: post() from any thread; the rest from the executor's own thread.
#pragma once

#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstdint>

namespace lamina {

class Executor {
 public:
  virtual ~Executor() = default;

  // Resumes `handle` on this executor's thread, later, never from inside the call. Any thread.
  virtual void post(std::coroutine_handle<> handle) = 0;
  // Resumes `handle` once now_ns() has reached `deadline_ns`.
  virtual void resume_at(uint64_t deadline_ns, std::coroutine_handle<> handle) = 0;
  // Monotonic, in nanoseconds.
  virtual uint64_t now_ns() const = 0;
  // Nanoseconds since 1970, UTC.
  virtual uint64_t wall_ns() const = 0;

  // The executor whose thread this is. Asserts that there is one.
  static Executor& current();
  // Makes `executor` (or none) current on this thread and returns the one before it.
  static Executor* set_current(Executor* executor);
};

// co_await Sleep{ns}: resumes on the same executor after at least that long.
struct Sleep {
  uint64_t duration_ns;
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> handle) const {
    Executor& executor = Executor::current();
    executor.resume_at(executor.now_ns() + duration_ns, handle);
  }
  void await_resume() const {}
};

// co_await Yield{}: lets everything else that is ready run first.
struct Yield {
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> handle) const { Executor::current().post(handle); }
  void await_resume() const {}
};

// co_await SwitchTo{executor}: goes on on that executor's thread.
struct SwitchTo {
  Executor& executor;
  bool await_ready() const { return &Executor::current() == &executor; }
  void await_suspend(std::coroutine_handle<> handle) const { executor.post(handle); }
  void await_resume() const {}
};

// A one-shot event. One coroutine awaits it, anybody signals it, in either order.
// Thread-safety: signal() from any thread. Ownership: the waiter owns it and keeps it until it
// has been signalled.
class Completion {
 public:
  Completion() = default;
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;

  void signal();
  bool signalled() const { return state_.load(std::memory_order_acquire) == done; }

  bool await_ready() const { return signalled(); }
  bool await_suspend(std::coroutine_handle<> handle);
  void await_resume() const {}

 private:
  static constexpr uintptr_t waiting_for_nobody = 0, done = 1;
  std::atomic<uintptr_t> state_{waiting_for_nobody};
  Executor* home_ = nullptr;
};

}  // namespace lamina
