// SPDX-License-Identifier: Apache-2.0
// Coroutines: who runs when, and who frees what.
#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/executor.h"
#include "base/result.h"
#include "base/task.h"
#include "base/waiters.h"

namespace lamina {
namespace {

// Runs what is posted when the test says so.
class HandExecutor final : public Executor {
 public:
  HandExecutor() : before_(set_current(this)) {}
  ~HandExecutor() override { set_current(before_); }
  void post(std::coroutine_handle<> handle) override { ready.push_back(handle); }
  void resume_at(uint64_t deadline_ns, std::coroutine_handle<> handle) override {
    last_deadline = deadline_ns;
    ready.push_back(handle);
  }
  uint64_t now_ns() const override { return 1000; }
  uint64_t wall_ns() const override { return 1000; }
  void run() {
    while (!ready.empty()) {
      const auto handle = ready.front();
      ready.pop_front();
      handle.resume();
    }
  }
  std::deque<std::coroutine_handle<>> ready;
  uint64_t last_deadline = 0;

 private:
  Executor* before_;
};

Task<int> answer(bool& started) {
  started = true;
  co_return 42;
}

Task<void> ask(bool& started, int& got, bool& before_await) {
  Task<int> task = answer(started);
  before_await = started;
  got = co_await task;
}

TEST(Task, RunsWhenItIsAwaitedNotBefore) {
  bool started = false, before_await = true;
  int got = 0;
  spawn(ask(started, got, before_await));
  EXPECT_FALSE(before_await);
  EXPECT_TRUE(started);
  EXPECT_EQ(got, 42);
}

TEST(Task, ThatNobodyAwaitsDoesNothingAndIsFreed) {
  bool started = false;
  { const Task<int> task = answer(started); }
  EXPECT_FALSE(started);
}

Task<std::unique_ptr<int>> make() {
  co_return std::make_unique<int>(7);
}

Task<void> take(int& got) {
  const std::unique_ptr<int> value = co_await make();
  got = *value;
}

TEST(Task, HandsOverValuesThatCanOnlyBeMoved) {
  int got = 0;
  spawn(take(got));
  EXPECT_EQ(got, 7);
}

Task<Result<int>> failing() {
  co_return fail(Code::busy, "no");
}

Task<Result<int>> passing_on() {
  auto result = co_await failing();
  if (!result) co_return forward_error(result);
  co_return 1;
}

Task<void> look(Code& code, std::string& message) {
  const auto result = co_await passing_on();
  code = result.error().code;
  message = result.error().message;
}

TEST(Task, CarriesErrorsUpwards) {
  Code code = Code::io;
  std::string message;
  spawn(look(code, message));
  EXPECT_EQ(code, Code::busy);
  EXPECT_EQ(message, "no");
}

Task<int> count_down(int n) {
  if (n == 0) co_return 0;
  const int below = co_await count_down(n - 1);
  co_return below + 1;
}

Task<void> count_long(int& got) {
  // Not awaited inside each other: a chain as long as a big directory.
  for (int i = 0; i < 100'000; ++i) got += co_await count_down(1);
}

TEST(Task, EndsInALoopWithoutEatingTheStack) {
  int got = 0;
  spawn(count_long(got));
  EXPECT_EQ(got, 100'000);
}

struct Noted {
  explicit Noted(std::vector<std::string>& list) : notes(list) {}
  ~Noted() { notes.push_back("freed"); }
  std::vector<std::string>& notes;
};

Task<void> waits(Completion& completion, std::vector<std::string>& notes) {
  const Noted noted(notes);
  notes.push_back("waits");
  co_await completion;
  notes.push_back("goes on");
}

TEST(Task, SpawnedGoesOnByItselfAndFreesItself) {
  HandExecutor executor;
  Completion completion;
  std::vector<std::string> notes;
  spawn(waits(completion, notes));
  notes.push_back("spawned");
  completion.signal();
  notes.push_back("signalled");
  executor.run();
  EXPECT_EQ(notes, (std::vector<std::string>{"waits", "spawned", "signalled", "goes on", "freed"}));
}

TEST(Completion, SignalledBeforehandDoesNotMakeItsWaiterWait) {
  HandExecutor executor;
  Completion completion;
  EXPECT_FALSE(completion.signalled());
  completion.signal();
  EXPECT_TRUE(completion.signalled());
  std::vector<std::string> notes;
  spawn(waits(completion, notes));
  EXPECT_EQ(notes, (std::vector<std::string>{"waits", "goes on", "freed"}));
  EXPECT_TRUE(executor.ready.empty());
}

TEST(Completion, SignalledTwiceResumesOnce) {
  HandExecutor executor;
  Completion completion;
  std::vector<std::string> notes;
  spawn(waits(completion, notes));
  completion.signal();
  completion.signal();
  EXPECT_EQ(executor.ready.size(), 1U);
  executor.run();
  EXPECT_EQ(notes.back(), "freed");
}

Task<void> wait_until(Waiters& waiters, const int& value, int wanted, std::vector<int>& reached) {
  while (value < wanted) {
    Completion woken;
    waiters.add(woken);
    co_await woken;
  }
  reached.push_back(wanted);
}

TEST(Waiters, AreWokenAtEveryChangeAndLookAgain) {
  HandExecutor executor;
  Waiters waiters;
  int value = 0;
  std::vector<int> reached;
  for (const int wanted : {2, 1, 0}) spawn(wait_until(waiters, value, wanted, reached));
  EXPECT_EQ(reached, (std::vector<int>{0}));
  for (value = 1; value <= 2; ++value) {
    waiters.wake_all();
    executor.run();
  }
  EXPECT_EQ(reached, (std::vector<int>{0, 1, 2}));
  EXPECT_TRUE(waiters.empty());
}

// Posts from any thread, for the race between waiting and signalling.
class CountingExecutor final : public Executor {
 public:
  void post(std::coroutine_handle<> handle) override { posted.store(handle.address()); }
  void resume_at(uint64_t, std::coroutine_handle<>) override {}
  uint64_t now_ns() const override { return 0; }
  uint64_t wall_ns() const override { return 0; }
  std::atomic<void*> posted{nullptr};
};

Task<void> count_once(Completion& completion, int& resumed) {
  co_await completion;
  ++resumed;
}

TEST(Completion, MayBeSignalledByAnotherThreadAtAnyMoment) {
  CountingExecutor executor;
  Executor* const before = Executor::set_current(&executor);
  for (int i = 0; i < 2000; ++i) {
    Completion completion;
    int resumed = 0;
    std::thread signaller([&] { completion.signal(); });
    spawn(count_once(completion, resumed));
    signaller.join();
    if (void* const handle = executor.posted.exchange(nullptr))
      std::coroutine_handle<>::from_address(handle).resume();
    EXPECT_EQ(resumed, 1);
  }
  Executor::set_current(before);
}

Task<void> nap(bool& woke) {
  co_await Sleep{500};
  woke = true;
}

TEST(Executor, SleepAsksForADeadlineOfTheCurrentOne) {
  HandExecutor executor;
  bool woke = false;
  spawn(nap(woke));
  EXPECT_EQ(executor.last_deadline, 1500U);
  EXPECT_FALSE(woke);
  executor.run();
  EXPECT_TRUE(woke);
}

Task<void> move_to(Executor& there, bool& arrived) {
  co_await SwitchTo{there};
  arrived = true;
}

TEST(Executor, SwitchToPostsElsewhereAndStaysWhereItIsAlready) {
  HandExecutor executor;
  CountingExecutor other;
  bool here = false, there = false;
  spawn(move_to(executor, here));
  EXPECT_TRUE(here);
  spawn(move_to(other, there));
  EXPECT_FALSE(there);
  void* const handle = other.posted.load();
  ASSERT_NE(handle, nullptr);
  std::coroutine_handle<>::from_address(handle).resume();
  EXPECT_TRUE(there);
}

TEST(ExecutorDeathTest, ThereMustBeACurrentOne) {
  EXPECT_DEATH((void)Executor::current(), "current_executor");
}

}  // namespace
}  // namespace lamina
