// SPDX-License-Identifier: Apache-2.0
// A thread's io_uring and event loop: disk I/O, timers, what other threads post, and whatever else
// shares the ring (the reactor's FUSE traffic). One enter a turn; nothing in it blocks but the
// wait for completions.
// Thread-safety: post() and stop() from any thread; everything else from the thread that runs it,
//   which is the one that first calls run() or run_until(): from then on the ring is bound to it.
//   Entries may be queued before that, by whoever will run it or hands it over.
// Ownership: of the ring; not of handlers, which live until their last completion. Destroyed only
//   when nothing is under way that writes to memory or resumes a coroutine.
// Errors: those of the ring itself after create() are bugs or the end of memory: assertions.
#pragma once

#include <liburing.h>

#include <coroutine>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/executor.h"
#include "base/result.h"
#include "base/task.h"

namespace lamina {

// What a completion is delivered to; its address is the request's user_data.
class RingHandler {
 public:
  virtual void complete(int32_t result, uint32_t flags) = 0;

 protected:
  ~RingHandler() = default;
};

class UringLoop final : public Executor {
 public:
  struct Options {
    // Of the submission queue; the completion queue has four times as many.
    uint32_t entries = 1024;
    // A loop that was lately woken soon looks around for a while before it sleeps, at most so long:
    // waking a sleeper takes longer than most requests. After a longer sleep it sleeps at once.
    // 0: never. The idea is that of KVM's and QEMU's adaptive polling.
    uint64_t poll_limit_ns = 0;
    // How many of the preferred ways to set a ring up are passed over, as if the kernel were
    // older: for tests.
    uint32_t skip_setups = 0;
  };
  // For loops that serve requests, of which there are so many: they poll if there is a processor
  // besides, on which what they wait for can go on.
  static Options serving(uint32_t loops);
  // Error unsupported: io_uring is forbidden (sysctl kernel.io_uring_disabled, seccomp) or too old;
  // the message says which and what to do.
  static Result<std::unique_ptr<UringLoop>> create(Options options);
  ~UringLoop() override;

  // A submission entry whose completion goes to `handler`. Submits what is queued if the ring is
  // full; never null, and no handler runs inside. Everything queued goes out with the next turn.
  io_uring_sqe* sqe(RingHandler& handler);
  // An entry whose success is not reported; a failure goes to `handler`. The place an entry is in
  // is valid until the next turn or the next sqe(): prepare it at once.
  io_uring_sqe* quiet_sqe(RingHandler& handler);
  // The same for an operation of a disk. A few of them go out without waiting for the end of the
  // turn: a disk that gets thirty at once answers thirty at once, and rests in between.
  io_uring_sqe* disk_sqe(RingHandler& handler);
  io_uring& ring();
  // How the ring was set up: "defer_taskrun" (Linux 6.1), "coop_taskrun" (5.19) or "plain".
  const char* setup_name() const;

  // Turns until stop(): submit and wait for one completion, deliver all there are but of disks only
  // a few, run what was posted, fire timers. Makes itself Executor::current() meanwhile. What is
  // queued when it ends is submitted. May be called again; a stop() that came before counts.
  void run();
  void stop();
  // Turns until `task` has ended, stop() or not; for programs and tests that do one thing. What
  // else was started stays where it is until the next run.
  template <class T>
  T run_until(Task<T> task);

  void post(std::coroutine_handle<> handle) override;
  void resume_at(uint64_t deadline_ns, std::coroutine_handle<> handle) override;
  uint64_t now_ns() const override;
  uint64_t wall_ns() const override;

  // The loop whose thread this is; asserts that Executor::current() is one.
  static UringLoop& current();

 private:
  struct State;
  explicit UringLoop(std::unique_ptr<State> state);

  void run_while_not(const bool& done);
  void turn();
  void enter();
  int sleep_until(uint64_t deadline_ns);
  bool poll(uint64_t since_ns);
  void deliver();
  void take_remote();
  void fire_timers();
  void run_ready();
  void submit_queued();

  template <class T>
  static detail::Detached drive(Task<T> task, std::optional<T>* out, bool* done);
  static detail::Detached drive(Task<void> task, bool* done);

  std::unique_ptr<State> state_;
};

// Why io_uring_setup refused, and what to do. `sysctl` is the value of kernel.io_uring_disabled, -1
// where there is none.
std::string explain_refused_io_uring(int error_number, int sysctl);

template <class T>
detail::Detached UringLoop::drive(Task<T> task, std::optional<T>* out, bool* done) {
  co_await Yield{};  // onto the loop
  T value = co_await task;
  out->emplace(std::move(value));
  *done = true;
}

inline detail::Detached UringLoop::drive(Task<void> task, bool* done) {
  co_await Yield{};
  co_await task;
  *done = true;
}

template <class T>
T UringLoop::run_until(Task<T> task) {
  bool done = false;
  std::optional<T> out;
  Executor* const before = set_current(this);
  drive(std::move(task), &out, &done);
  run_while_not(done);
  set_current(before);
  return std::move(*out);
}

template <>
inline void UringLoop::run_until(Task<void> task) {
  bool done = false;
  Executor* const before = set_current(this);
  drive(std::move(task), &done);
  run_while_not(done);
  set_current(before);
}

}  // namespace lamina
