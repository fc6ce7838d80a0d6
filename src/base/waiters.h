// SPDX-License-Identifier: Apache-2.0
// Coroutines that wait for something to change. Each waits with a Completion of its own, is woken
// once, and looks again.
// Thread-safety: none; the mutex of what they wait for guards it. Ownership: of nothing.
#pragma once

#include <utility>
#include <vector>

#include "base/executor.h"

namespace lamina {

class Waiters {
 public:
  void add(Completion& waiter) { waiting_.push_back(&waiter); }
  void wake_all() {
    for (Completion* waiter : std::exchange(waiting_, {})) waiter->signal();
  }
  bool empty() const { return waiting_.empty(); }

 private:
  std::vector<Completion*> waiting_;
};

}  // namespace lamina
