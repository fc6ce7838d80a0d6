// SPDX-License-Identifier: Apache-2.0
// Scrubbing: what it finds of what nobody reads, and that it comes to its end.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "engine_pool_fixture.h"

namespace lamina {
namespace {

class Scrubbed : public PoolOnSimulatedDisk {
 protected:
  static constexpr uint64_t device_blocks = 1024;

  void SetUp() override {
    PoolOnSimulatedDisk::SetUp();
    const auto made = wait(pool_->create("disk", device_blocks * block_size, {}));
    ASSERT_TRUE(made);
    device_ = made->id;
    for (uint64_t block = 0; block < device_blocks; block += 16)
      ASSERT_TRUE(wait(pool_->write(device_, block * block_size, content(block, 16))));
  }
  // No two blocks are alike.
  std::vector<std::byte> content(uint64_t block, uint64_t count = 1) {
    std::vector<std::byte> data;
    for (uint64_t i = block; i < block + count; ++i) {
      std::vector<std::byte> one = pattern(block_size, 1);
      std::memcpy(one.data(), &i, sizeof i);
      data.insert(data.end(), one.begin(), one.end());
    }
    return data;
  }
  void damage(uint64_t block) {
    const std::vector<std::byte> wanted = content(block);
    std::vector<std::byte> found(block_size);
    for (uint64_t at = 0; at < pool_bytes; at += block_size) {
      medium_.read(at, found);
      if (found != wanted) continue;
      found[99] ^= std::byte{1};
      return medium_.damage(at, found);
    }
    FAIL() << "block " << block << " is not on the medium";
  }
  ScrubStatus status() { return pool_->status().scrub; }
  void expect_lost(const std::vector<std::pair<std::string, uint64_t>>& blocks) {
    std::vector<std::pair<std::string, uint64_t>> lost;
    for (const LostRange& range : pool_->lost())
      for (uint64_t at = range.range.begin.value; at < range.range.end.value; ++at)
        lost.emplace_back(range.name, at);
    std::sort(lost.begin(), lost.end());
    EXPECT_EQ(lost, blocks);
  }

  DeviceId device_ = DeviceId::none;
};

TEST_F(Scrubbed, WhatIsGoodIsComparedWhole) {
  scrub();
  EXPECT_EQ(status().ended, "done");
  EXPECT_GE(status().verified_bytes, device_blocks * block_size);
  EXPECT_EQ(status().bad_bytes, 0u);
  EXPECT_FALSE(status().under_way);
  EXPECT_GT(status().ended_ns, 0u);
  expect_lost({});
}

TEST_F(Scrubbed, WhatNobodyReadsIsListedForAllWhoHaveIt) {
  std::vector<Pool::Fork> forks;
  forks.push_back({device_, "snapshot"});
  ASSERT_TRUE(wait(pool_->fork(std::move(forks), true)));
  ASSERT_TRUE(wait(pool_->write(device_, 40 * block_size, content(5000))));
  ASSERT_TRUE(wait(pool_->checkpoint()));
  damage(17);
  damage(40);    // the snapshot's alone by now
  damage(5000);  // and the device's
  scrub();
  EXPECT_EQ(status().ended, "done");
  EXPECT_EQ(status().bad_bytes, 4 * block_size);
  expect_lost({{"disk", 17}, {"disk", 40}, {"snapshot", 17}, {"snapshot", 40}});
  remount();
  expect_lost({{"disk", 17}, {"disk", 40}, {"snapshot", 17}, {"snapshot", 40}});
  EXPECT_EQ(status().bad_bytes, 4 * block_size);
}

TEST_F(Scrubbed, WhatIsDeadIsNobodysLoss) {
  ASSERT_TRUE(wait(pool_->checkpoint()));
  damage(17);
  ASSERT_TRUE(wait(pool_->write(device_, 17 * block_size, content(17))));
  scrub();
  EXPECT_EQ(status().bad_bytes, 0u);
  expect_lost({});
}

TEST_F(Scrubbed, WhatIsWrittenAgainIsListedNoMore) {
  ASSERT_TRUE(wait(pool_->checkpoint()));
  damage(17);
  damage(300);
  scrub();
  expect_lost({{"disk", 17}, {"disk", 300}});
  ASSERT_TRUE(wait(pool_->write(device_, 17 * block_size, content(17))));
  scrub();
  expect_lost({{"disk", 300}});
}

TEST_F(Scrubbed, APassThatAClosedPoolHasInterruptedGoesOnByItself) {
  ASSERT_TRUE(wait(pool_->checkpoint()));
  damage(1000);
  ask_to_scrub();
  wait_until([&] { return status().done_bytes > 0; });
  remount();
  EXPECT_GT(status().done_bytes, 0u);
  wait_until([&] { return status().ended_ns > 0; });
  EXPECT_LT(status().verified_bytes, device_blocks * block_size) << "it has begun anew";
  expect_lost({{"disk", 1000}});
}

TEST_F(Scrubbed, AStoppedPassGoesOnWhenItIsAskedFor) {
  ask_to_scrub();
  wait_until([&] { return status().done_bytes > 0; });
  pool_->stop_scrub();
  wait_until([&] { return !status().running; });
  EXPECT_TRUE(status().under_way);
  const uint64_t done = status().done_bytes;
  remount();
  EXPECT_FALSE(status().running);
  EXPECT_EQ(status().done_bytes, done);
  scrub();
  EXPECT_EQ(status().ended, "done");
  EXPECT_LT(status().verified_bytes, device_blocks * block_size) << "it has begun anew";
}

// Segments of maps come back, and are taken again, while they are looked at one after the other.
TEST_F(Scrubbed, WhatComesBackMeanwhileIsNoDamage) {
  constexpr uint64_t spread = 64;  // so that the map has many leaves
  ASSERT_TRUE(wait(pool_->resize(device_, device_blocks * spread * block_size)));
  const auto one = content(1);
  for (uint64_t at = 0; at < device_blocks; ++at)
    ASSERT_TRUE(wait(pool_->write(device_, at * spread * block_size, one)));
  bool enough = false;
  const auto write_over = [&]() -> Task<void> {
    uint64_t at = 0;
    while (!enough) {
      const uint64_t offset = at++ % device_blocks * spread * block_size;
      Task<Result<>> writing = pool_->write(device_, offset, one);
      (void)co_await writing;
      if (at % 64 != 0) continue;
      Task<Result<>> merging = pool_->checkpoint();
      (void)co_await merging;
    }
  };
  const auto heal_beside = [&]() -> Task<uint64_t> {
    spawn(write_over());
    uint64_t healed = 0;
    for (int i = 0; i < 100; ++i) {
      Task<Result<uint64_t>> healing = pool_->heal_metadata();
      const Result<uint64_t> bad = co_await healing;
      healed += bad.value_or(1);
    }
    enough = true;
    co_return healed;
  };
  EXPECT_EQ(wait(heal_beside()), 0u);
  EXPECT_EQ(told_, std::vector<std::string>{});
}

// The position is behind what was listed only where that is durable too.
TEST_F(Scrubbed, ACrashLosesNothingOfWhatWasFound) {
  ASSERT_TRUE(wait(pool_->checkpoint()));
  damage(17);
  scrub();
  crash();
  if (!status().under_way && status().ended_ns == 0) scrub();
  wait_until([&] { return status().ended_ns > 0; });
  expect_lost({{"disk", 17}});
}

}  // namespace
}  // namespace lamina
