// SPDX-License-Identifier: Apache-2.0
// Workers that are let go while they are at work. What orders their end is TBB's alone and has to
// be told to ThreadSanitizer, which is who this is for first of all.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "engine/arena_workers.h"

namespace lamina {
namespace {

TEST(ArenaWorkers, EndWhenAllThatWasStartedHasEnded) {
  constexpr int rounds = 50, jobs = 32;
  std::atomic<int> done = 0;
  for (int round = 1; round <= rounds; ++round) {
    {
      ArenaWorkers workers(2, {});
      std::thread([&] {
        for (int job = 0; job < jobs; ++job) workers.start([&done] { ++done; });
      }).join();
    }
    ASSERT_EQ(done, round * jobs);
  }
}

}  // namespace
}  // namespace lamina
