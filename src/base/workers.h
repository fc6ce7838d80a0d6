// SPDX-License-Identifier: Apache-2.0
// Threads for long work on ranges (walks, checks, packing), beside the executors, which must not be
// held up. They are given as a value, so that the simulator has none and stays one thread.
// Thread-safety: start() from any thread. Ownership: outlives whatever was started.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>

#include "base/executor.h"

namespace lamina {

class Workers {
 public:
  virtual ~Workers() = default;
  virtual unsigned count() const = 0;  // of jobs that run at once; at least 1
  // Runs `job` once, soon, on a thread of theirs. A job waits for nothing but mutexes.
  virtual void start(std::function<void()> job) = 0;
};

// Pieces of one work, each done once, in any order, by as many workers as there are; without
// workers by start() itself. What the pieces wrote is there for whoever awaited done().
// Ownership: lives until done().
class Pieces {
 public:
  Pieces() = default;
  Pieces(const Pieces&) = delete;
  Pieces& operator=(const Pieces&) = delete;

  // Once. `piece` is given its number, and that of who does it: no two at a time are the same
  // worker of at most `jobs()`.
  void start(Workers* workers, size_t count, std::function<void(size_t, size_t)> piece);
  static size_t jobs(const Workers* workers) { return workers ? workers->count() : 1; }
  Completion& done() { return done_; }

 private:
  void work(size_t worker);

  std::function<void(size_t, size_t)> piece_;
  size_t count_ = 0;
  std::atomic<size_t> next_{0}, working_{0};
  Completion done_;
};

}  // namespace lamina
