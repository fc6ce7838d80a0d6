// SPDX-License-Identifier: Apache-2.0
// One seed is one run, time is virtual, and after a crash nothing runs any more.
#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "blobs/sim_disk.h"
#include "blobs/sim_executor.h"
#include "tests/unit/sleeping_tasks.h"

namespace lamina {
namespace {

TEST(SimExecutor, TimeJumpsToTheNextTimer) {
  SimExecutor executor(1);
  int out = 0;
  ASSERT_TRUE(executor.run_until(sleep_and_answer(3600'000'000'000, 42), out));
  EXPECT_EQ(out, 42);
  EXPECT_GE(executor.now_ns(), 3600'000'000'000U);
  EXPECT_LT(executor.now_ns(), 3600'001'000'000U);
}

Task<void> start_three(std::vector<int>& notes) {
  spawn(note_after(3000'000, 3, notes));
  spawn(note_after(1000'000, 1, notes));
  spawn(note_after(2000'000, 2, notes));
  co_return;
}

TEST(SimExecutor, TimersFireInTheOrderOfTheirDeadlines) {
  SimExecutor executor(1);
  std::vector<int> notes;
  ASSERT_TRUE(executor.run_until(start_three(notes)));
  EXPECT_TRUE(notes.empty());
  EXPECT_TRUE(executor.run(2500'000));
  EXPECT_EQ(notes, (std::vector<int>{1, 2}));
  EXPECT_EQ(executor.now_ns(), 2500'000U);
  EXPECT_TRUE(executor.run());
  EXPECT_EQ(notes, (std::vector<int>{1, 2, 3}));
}

Task<void> note_turns(int what, std::vector<int>& notes) {
  for (int i = 0; i < 3; ++i) {
    notes.push_back(what);
    co_await Yield{};
  }
}

Task<void> take_turns(std::vector<int>& notes) {
  spawn(note_turns(1, notes));
  spawn(note_turns(2, notes));
  co_return;
}

TEST(SimExecutor, YieldLetsEverythingElseThatIsReadyRunFirst) {
  SimExecutor executor(1);
  std::vector<int> notes;
  ASSERT_TRUE(executor.run_until(take_turns(notes)));
  ASSERT_TRUE(executor.run());
  EXPECT_EQ(notes, (std::vector<int>{1, 2, 1, 2, 1, 2}));
}

Task<void> write_one(Disk& disk, uint64_t block, const Buffer& data, std::vector<uint64_t>& order) {
  IoBatch batch;
  batch.write(disk, block * block_size, data.span());
  co_await batch;
  order.push_back(block);
}

Task<void> write_many(Disk& disk, const Buffer& data, std::vector<uint64_t>& order) {
  for (uint64_t block = 0; block < 8; ++block) spawn(write_one(disk, block, data, order));
  co_return;
}

std::vector<uint64_t> completion_order(uint64_t seed) {
  SimExecutor executor(seed);
  SimMedium medium("disk", mib);
  const auto disk = open_sim_disk(medium, executor);
  Buffer data(block_size);
  data.zero();
  std::vector<uint64_t> order;
  EXPECT_TRUE(executor.run_until(write_many(*disk, data, order)));
  EXPECT_TRUE(executor.run());
  EXPECT_EQ(executor.steps(), 8U);
  return order;
}

TEST(SimExecutor, TheSeedDecidesTheOrderOfCompletions) {
  std::set<std::vector<uint64_t>> orders;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_EQ(completion_order(seed), completion_order(seed));
    orders.insert(completion_order(seed));
  }
  EXPECT_GT(orders.size(), 15U);
}

Task<void> write_for_ever(Disk& disk, const Buffer& data, uint64_t& acknowledged) {
  for (uint64_t i = 0;; ++i) {
    IoBatch batch;
    batch.write(disk, i % 16 * block_size, data.span());
    co_await batch;
    ++acknowledged;
  }
}

TEST(SimExecutor, ACrashStopsEverythingAfterThatManySteps) {
  SimMedium medium("disk", mib);
  Buffer data(block_size);
  data.zero();
  uint64_t acknowledged = 0;
  SimExecutor executor(3);
  const auto disk = open_sim_disk(medium, executor);
  executor.crash_after(10);
  EXPECT_FALSE(executor.run_until(write_for_ever(*disk, data, acknowledged)));
  EXPECT_TRUE(executor.crashed());
  EXPECT_EQ(executor.steps(), 10U);
  EXPECT_EQ(acknowledged, 10U);
  EXPECT_FALSE(executor.run());
  EXPECT_EQ(acknowledged, 10U);
}

TEST(SimExecutor, ACrashAfterNoStepStopsBeforeTheFirst) {
  SimMedium medium("disk", mib);
  Buffer data(block_size);
  data.zero();
  uint64_t acknowledged = 0;
  SimExecutor executor(3);
  const auto disk = open_sim_disk(medium, executor);
  executor.crash_after(0);
  EXPECT_FALSE(executor.run_until(write_for_ever(*disk, data, acknowledged)));
  EXPECT_EQ(acknowledged, 0U);
}

Task<void> wait_for(Completion& completion, int& stage) {
  stage = 1;
  co_await completion;
  stage = 2;
}

Task<void> wait_and_signal(Completion& completion, int& stage) {
  spawn(wait_for(completion, stage));
  co_await Sleep{1000};
  completion.signal();
}

TEST(SimExecutor, ASignalledCompletionResumesItsWaiter) {
  SimExecutor executor(1);
  Completion completion;
  int stage = 0;
  ASSERT_TRUE(executor.run_until(wait_and_signal(completion, stage)));
  ASSERT_TRUE(executor.run());
  EXPECT_EQ(stage, 2);
}

Task<void> wait_alone(Completion& completion) {
  co_await completion;
}

TEST(SimExecutorDeathTest, WaitingForWhatNeverComesIsAnAssertion) {
  EXPECT_DEATH(
      {
        SimExecutor executor(1);
        Completion completion;
        (void)executor.run_until(wait_alone(completion));
      },
      "assertion failed");
}

}  // namespace
}  // namespace lamina
