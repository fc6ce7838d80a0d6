// SPDX-License-Identifier: Apache-2.0
#include "base/executor.h"

#include <utility>

#include "base/check.h"

namespace lamina {
namespace {
thread_local Executor* current_executor = nullptr;
}

Executor& Executor::current() {
  LAMINA_CHECK(current_executor != nullptr);
  return *current_executor;
}

Executor* Executor::set_current(Executor* executor) {
  return std::exchange(current_executor, executor);
}

void Completion::signal() {
  const uintptr_t before = state_.exchange(done, std::memory_order_acq_rel);
  if (before == waiting_for_nobody || before == done) return;
  // Somebody waits, suspended until this post: *this lives until then, and not a moment longer.
  home_->post(std::coroutine_handle<>::from_address(reinterpret_cast<void*>(before)));
}

bool Completion::await_suspend(std::coroutine_handle<> handle) {
  home_ = &Executor::current();
  uintptr_t expected = waiting_for_nobody;
  return state_.compare_exchange_strong(expected, reinterpret_cast<uintptr_t>(handle.address()),
                                        std::memory_order_acq_rel);
}

}  // namespace lamina
