// SPDX-License-Identifier: Apache-2.0
// Coroutines for everything that may wait: a Task<T> runs when it is awaited and resumes whoever
// awaited it. spawn() starts one that nobody awaits.
// Ownership: a Task owns its frame; spawn() gives the frame to itself.
// Errors: a Task returns Result<T>; an exception that escapes one is a bug and ends the process.
#pragma once

#include <atomic>
#include <coroutine>
#include <cstdlib>
#include <exception>
#include <optional>
#include <utility>

namespace lamina {

template <class T>
class Task;

namespace detail {

// A task that ends without ever having waited must not resume whoever awaits it: that one is still
// below it on the stack, and a loop of such awaits would grow the stack wherever the compiler
// makes no tail calls (sanitizers, -O0). So both meet at a flag: the task that ends and the awaiter
// that has started it. Whoever comes second goes on; they may be on different threads.
struct FinalAwaiter {
  bool await_ready() noexcept { return false; }
  template <class Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> h) noexcept {
    const std::coroutine_handle<> awaiting = h.promise().continuation;
    // If the awaiter is yet to come, it may destroy the frame from here on.
    if (h.promise().met.exchange(true, std::memory_order_acq_rel)) return awaiting;
    return std::noop_coroutine();
  }
  void await_resume() noexcept {}
};

struct PromiseBase {
  std::coroutine_handle<> continuation;
  std::atomic<bool> met = false;
  std::suspend_always initial_suspend() noexcept { return {}; }
  FinalAwaiter final_suspend() noexcept { return {}; }
  [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
};

template <class T>
struct Promise : PromiseBase {
  std::optional<T> value;
  Task<T> get_return_object();
  template <class U>
  void return_value(U&& v) {
    value.emplace(std::forward<U>(v));
  }
  T take() { return std::move(*value); }
};

template <>
struct Promise<void> : PromiseBase {
  Task<void> get_return_object();
  void return_void() {}
  void take() {}
};

}  // namespace detail

template <class T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  explicit Task(Handle handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  // false: it has ended already. Otherwise *this may be gone by the return.
  bool await_suspend(std::coroutine_handle<> awaiting) noexcept {
    promise_type& promise = handle_.promise();
    promise.continuation = awaiting;
    handle_.resume();
    return !promise.met.load(std::memory_order_acquire) &&
           !promise.met.exchange(true, std::memory_order_acq_rel);
  }
  T await_resume() { return handle_.promise().take(); }

 private:
  Handle handle_;
};

template <class T>
Task<T> detail::Promise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Task<void> detail::Promise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}

namespace detail {
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
  };
};
}  // namespace detail

// Runs `task` on this thread until it first waits; it goes on by itself and frees itself.
inline void spawn(Task<void> task) {
  [](Task<void> owned) -> detail::Detached { co_await owned; }(std::move(task));
}

}  // namespace lamina
