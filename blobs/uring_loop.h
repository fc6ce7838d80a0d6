// SPDX-License-Identifier: Apache-2.0
// A thread's io_uring and event loop: disk I/O, timers, what other threads post, and whatever else
// shares the ring (the reactor's FUSE traffic). One enter a turn; nothing in it blocks but the
// wait for completions.
// Thread-safety: post() and stop() from any thread; everything else from the thread that runs it.
#pragma once

#include <liburing.h>

#include <coroutine>
#include <cstdint>
#include <memory>

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
    uint32_t entries = 1024;
  };
  // Error unsupported: io_uring is forbidden (sysctl kernel.io_uring_disabled, seccomp) or too old;
  // the message says which and what to do.
  static Result<std::unique_ptr<UringLoop>> create(Options options);
  ~UringLoop() override;

  // A submission entry whose completion goes to `handler`. Submits what is queued if the ring is
  // full; never null.
  io_uring_sqe* sqe(RingHandler& handler);
  // An entry whose success is not reported; a failure goes to `handler`.
  io_uring_sqe* quiet_sqe(RingHandler& handler);
  io_uring& ring();

  // Turns until stop(): submit and wait for one completion, deliver all there are, run what was
  // posted, fire timers. Makes itself Executor::current() meanwhile.
  void run();
  void stop();
  // Turns until `task` has ended; for programs and tests that do one thing.
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
  std::unique_ptr<State> state_;
};

}  // namespace lamina
