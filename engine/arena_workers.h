// SPDX-License-Identifier: Apache-2.0
// Workers in a TBB arena of their own, of low priority: background work yields to users.
// Thread-safety: start() from any thread. Ownership: outlives the pool that is given it, and ends
// before the executors that jobs wake; it waits for those that still run.
#pragma once

#include <functional>
#include <memory>

#include "base/workers.h"

namespace lamina {

class ArenaWorkers final : public Workers {
 public:
  // `on_thread` runs once on each thread that comes to work here: the place to make it yield.
  ArenaWorkers(unsigned threads, std::function<void()> on_thread);
  ~ArenaWorkers() override;

  unsigned count() const override;
  void start(std::function<void()> job) override;

 private:
  struct Arena;
  const unsigned threads_;
  const std::unique_ptr<Arena> arena_;
};

}  // namespace lamina
