// SPDX-License-Identifier: Apache-2.0
// The event loop: completions, timers, posts of this thread and of others, one enter a turn.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "blobs/uring_loop.h"
#include "tests/unit/sleeping_tasks.h"

namespace lamina {
namespace {

std::unique_ptr<UringLoop> make_loop(uint32_t entries = 64, uint32_t skip_setups = 0,
                                     uint64_t poll_limit_ns = 0) {
  UringLoop::Options options;
  options.poll_limit_ns = poll_limit_ns;
  options.entries = entries;
  options.skip_setups = skip_setups;
  auto loop = UringLoop::create(options);
  if (!loop) {
    std::fprintf(stderr, "%s\n", loop.error().message.c_str());
    std::abort();
  }
  return std::move(*loop);
}

TEST(UringLoop, RunsATaskUntilItHasEnded) {
  const auto loop = make_loop();
  const uint64_t before = loop->now_ns();
  EXPECT_EQ(loop->run_until(sleep_and_answer(5'000'000, 42)), 42);
  EXPECT_GE(loop->now_ns() - before, 5'000'000U);
  EXPECT_EQ(loop->run_until(sleep_and_answer(0, 43)), 43);
}

Task<void> sleep_three_ways(std::vector<int>& notes) {
  spawn(note_after(6'000'000, 3, notes));
  spawn(note_after(2'000'000, 1, notes));
  spawn(note_after(4'000'000, 2, notes));
  co_await Sleep{30'000'000};
}

TEST(UringLoop, TimersFireInTheOrderOfTheirDeadlines) {
  const auto loop = make_loop();
  std::vector<int> notes;
  loop->run_until(sleep_three_ways(notes));
  EXPECT_EQ(notes, (std::vector<int>{1, 2, 3}));
}

Task<void> signal_from_elsewhere(std::thread& thread, std::thread::id& resumed_on) {
  Completion completion;
  thread = std::thread([&completion] {
    usleep(5000);
    completion.signal();
  });
  co_await completion;
  resumed_on = std::this_thread::get_id();
}

TEST(UringLoop, IsWokenByAnotherThreadAndResumesOnItsOwn) {
  const auto loop = make_loop();
  std::thread thread;
  std::thread::id resumed_on;
  loop->run_until(signal_from_elsewhere(thread, resumed_on));
  EXPECT_EQ(resumed_on, std::this_thread::get_id());
  thread.join();
}

Task<void> hop(UringLoop& there, UringLoop& here, int& hops) {
  for (int i = 0; i < 1000; ++i) {
    co_await SwitchTo{there};
    co_await SwitchTo{here};
    ++hops;
  }
}

TEST(UringLoop, CoroutinesSwitchBetweenLoopsOfTwoThreads) {
  const auto here = make_loop(), there = make_loop();
  std::thread other([&] { there->run(); });
  int hops = 0;
  here->run_until(hop(*there, *here, hops));
  EXPECT_EQ(hops, 1000);
  there->stop();
  other.join();
}

Task<int> end_there(UringLoop& there) {
  co_await SwitchTo{there};
  co_return 1;
}

Task<void> await_ends_there(UringLoop& there, UringLoop& here, int& ends) {
  for (int i = 0; i < 2000; ++i) {
    ends += co_await end_there(there);
    co_await SwitchTo{here};
  }
}

TEST(UringLoop, ATaskMayEndOnAnotherThreadWhileItsAwaiterStillStartsIt) {
  const auto here = make_loop(), there = make_loop();
  std::thread other([&] { there->run(); });
  int ends = 0;
  here->run_until(await_ends_there(*there, *here, ends));
  EXPECT_EQ(ends, 2000);
  there->stop();
  other.join();
}

Task<void> await_signal(std::thread& thread) {
  Completion done;
  thread = std::thread([&done] { done.signal(); });
  co_await done;
}

// Seen by ThreadSanitizer; without, it takes luck.
TEST(UringLoop, MayEndAsSoonAsItHasGoneOnWithWhatAnotherThreadPosted) {
  for (int i = 0; i < 200; ++i) {
    std::thread thread;
    auto loop = make_loop();
    loop->run_until(await_signal(thread));
    loop.reset();
    thread.join();
  }
}

TEST(UringLoop, StopsWhenAskedBeforeItRunsAndFromAnotherThread) {
  const auto loop = make_loop();
  loop->stop();
  loop->run();
  std::thread stopper([&] {
    usleep(5000);
    loop->stop();
  });
  loop->run();
  stopper.join();
}

class Counter final : public RingHandler {
 public:
  void complete(int32_t result, uint32_t) override {
    ++completions;
    last = result;
    if (completions == stop_at) done.signal();
  }
  int completions = 0, stop_at = 0;
  int32_t last = 0;
  Completion done;
};

Task<void> queue_nops(UringLoop& loop, Counter& counter, int count) {
  counter.stop_at = count;
  for (int i = 0; i < count; ++i) io_uring_prep_nop(loop.sqe(counter));
  EXPECT_EQ(counter.completions, 0);  // never from inside sqe()
  co_await counter.done;
}

TEST(UringLoop, TakesMoreEntriesThanTheRingHolds) {
  const auto loop = make_loop(8);
  Counter counter;
  loop->run_until(queue_nops(*loop, counter, 1000));
  EXPECT_EQ(counter.completions, 1000);
}

Task<void> write_quietly(UringLoop& loop, Counter& quiet, Counter& loud, int fd) {
  static const char text[] = "hello";
  io_uring_prep_write(loop.quiet_sqe(quiet), fd, text, 5, 0);
  co_await Sleep{2'000'000};
  loud.stop_at = 1;
  io_uring_prep_nop(loop.sqe(loud));
  co_await loud.done;
}

TEST(UringLoop, QuietEntriesReportFailuresOnly) {
  const auto loop = make_loop();
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  Counter quiet, loud;
  loop->run_until(write_quietly(*loop, quiet, loud, pipe_fds[1]));
  EXPECT_EQ(quiet.completions, 0);
  char got[5];
  EXPECT_EQ(::read(pipe_fds[0], got, sizeof got), 5);
  close(pipe_fds[0]);
  close(pipe_fds[1]);
  Counter failing, after;
  loop->run_until(write_quietly(*loop, failing, after, -1));
  EXPECT_EQ(failing.completions, 1);
  EXPECT_EQ(failing.last, -EBADF);
}

Task<void> spin(bool& stop, uint64_t& turns) {
  while (!stop) {
    ++turns;
    co_await Yield{};
  }
}

Task<void> nop_beside_a_spinner(UringLoop& loop, Counter& counter, uint64_t& turns) {
  bool stop = false;
  spawn(spin(stop, turns));
  counter.stop_at = 1;
  io_uring_prep_nop(loop.sqe(counter));
  co_await counter.done;
  co_await Sleep{1'000'000};
  stop = true;
  co_await Yield{};
  co_await Yield{};
}

TEST(UringLoop, ALoopOfYieldsStarvesNeitherCompletionsNorTimers) {
  const auto loop = make_loop();
  Counter counter;
  uint64_t turns = 0;
  loop->run_until(nop_beside_a_spinner(*loop, counter, turns));
  EXPECT_EQ(counter.completions, 1);
  EXPECT_GT(turns, 10U);
}

TEST(UringLoop, WorksTheSameAsOnOlderKernels) {
  const char* const names[] = {"defer_taskrun", "coop_taskrun", "plain"};
  for (uint32_t skipped = 0; skipped < 3; ++skipped) {
    SCOPED_TRACE(names[skipped]);
    const auto loop = make_loop(8, skipped);
    if (skipped > 0) {  // what comes first depends on the kernel that runs the test
      EXPECT_STREQ(loop->setup_name(), names[skipped]);
    }
    EXPECT_EQ(loop->run_until(sleep_and_answer(1'000'000, 42)), 42);
    Counter counter;
    loop->run_until(queue_nops(*loop, counter, 100));
    EXPECT_EQ(counter.completions, 100);
    std::thread thread;
    std::thread::id resumed_on;
    loop->run_until(signal_from_elsewhere(thread, resumed_on));
    EXPECT_EQ(resumed_on, std::this_thread::get_id());
    thread.join();
  }
}

Task<void> wake_soon_and_often(UringLoop& loop) {
  for (int i = 0; i < 100; ++i) {
    Counter counter;
    co_await queue_nops(loop, counter, 1);
    co_await Sleep{1'000};
  }
}

TEST(UringLoop, ThatPollsServesTheSameAndSleepsWhereNothingComesSoon) {
  const char* const names[] = {"defer_taskrun", "coop_taskrun", "plain"};
  for (uint32_t skipped = 0; skipped < 3; ++skipped) {
    SCOPED_TRACE(names[skipped]);
    const auto loop = make_loop(8, skipped, 200'000);
    loop->run_until(wake_soon_and_often(*loop));
    std::thread thread;
    std::thread::id resumed_on;
    loop->run_until(signal_from_elsewhere(thread, resumed_on));
    EXPECT_EQ(resumed_on, std::this_thread::get_id());
    thread.join();
    const auto used_ns = [] {
      timespec used{};
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
      return used.tv_sec * 1'000'000'000 + used.tv_nsec;
    };
    const auto before = used_ns();
    EXPECT_EQ(loop->run_until(sleep_and_answer(100'000'000, 42)), 42);
    EXPECT_LT(used_ns() - before, 20'000'000);
  }
}

Task<bool> this_loop_is_current(const UringLoop& loop) {
  co_return &UringLoop::current() == &loop;
}

TEST(UringLoop, IsCurrentWhileItRuns) {
  const auto loop = make_loop();
  EXPECT_TRUE(loop->run_until(this_loop_is_current(*loop)));
}

TEST(UringLoopDeathTest, IsNotCurrentWhereNoneRuns) {
  EXPECT_DEATH((void)UringLoop::current(), "running_loop");
}

TEST(UringLoop, SaysWhatToDoWhereIoUringIsForbidden) {
  EXPECT_NE(explain_refused_io_uring(EPERM, 2).find("sysctl -w kernel.io_uring_disabled=0"),
            std::string::npos);
  EXPECT_NE(explain_refused_io_uring(EPERM, 1).find("kernel.io_uring_group"), std::string::npos);
  EXPECT_NE(explain_refused_io_uring(EPERM, 0).find("seccomp"), std::string::npos);
  EXPECT_NE(explain_refused_io_uring(ENOSYS, -1).find("seccomp"), std::string::npos);
  EXPECT_NE(explain_refused_io_uring(ENOMEM, 0).find("ulimit -l"), std::string::npos);
}

// Forbids io_uring_setup to this process, as container runtimes do, and reports what comes of it.
[[noreturn]] void create_under_seccomp() {
  std::array<sock_filter, 4> filter = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog program{filter.size(), filter.data()};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) std::_Exit(2);
  const auto loop = UringLoop::create({});
  if (loop || loop.error().code != Code::unsupported) std::_Exit(3);
  std::fprintf(stderr, "%s\n", loop.error().message.c_str());
  std::_Exit(0);
}

TEST(UringLoopDeathTest, ForbiddenBySeccompIsOneClearError) {
  EXPECT_EXIT(create_under_seccomp(), testing::ExitedWithCode(0), "io_uring is not available");
}

}  // namespace
}  // namespace lamina
