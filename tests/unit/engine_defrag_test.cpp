// SPDX-License-Identifier: Apache-2.0
// Defragmentation: what is chosen, and that devices, their snapshots and copies are what they were.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>

#include "engine/pool.h"
#include "engine/space/moved_parts.h"
#include "engine/space/scattered_runs.h"
#include "engine_pool_fixture.h"

namespace lamina {
namespace {

Address at(uint32_t generation, uint32_t block) {
  return {Generation{generation}, block};
}

Extent extent(uint64_t begin, uint64_t length, Address address) {
  Extent e;
  e.begin = DeviceBlock{begin};
  e.end = DeviceBlock{begin + length};
  e.address = address;
  return e;
}

constexpr ScatterNeed usual{.long_run = 256,
                            .payload = 1000,
                            .most_blocks = 10000,
                            .most_parts = 1000,
                            .most_segments = 100};

TEST(MovedParts, NoBlockIsMovedTwice) {
  MovedParts parts;
  parts.add({at(3, 10), 10, 100});
  parts.add({at(3, 15), 10, 500});
  parts.add({at(3, 12), 4, 900});
  parts.finish();
  EXPECT_EQ(parts.blocks(), 15u);
  const auto in = parts.of(Generation{3});
  ASSERT_EQ(in.size(), 2u);
  EXPECT_EQ(in[1].from, at(3, 20));
  EXPECT_EQ(in[1].blocks, 5u);
  EXPECT_EQ(in[1].order, 505u);
}

TEST(MovedParts, OverlapIsFoundAtEitherEnd) {
  MovedParts parts;
  parts.add({at(3, 10), 10, 0});
  parts.add({at(5, 10), 10, 10});
  parts.finish();
  EXPECT_TRUE(parts.overlaps(at(3, 0), 11));
  EXPECT_FALSE(parts.overlaps(at(3, 0), 10));
  EXPECT_TRUE(parts.overlaps(at(3, 19), 1));
  EXPECT_FALSE(parts.overlaps(at(3, 20), 100));
  EXPECT_FALSE(parts.overlaps(at(4, 10), 10));
  EXPECT_EQ(parts.segments(), (std::set<Generation>{Generation{3}, Generation{5}}));
}

TEST(ScatteredRuns, ShortOnesThatFollowEachOtherMoveTogether) {
  ScatteredRuns runs(usual);
  EXPECT_TRUE(runs.add(extent(0, 10, at(7, 100)), true));
  EXPECT_TRUE(runs.add(extent(10, 10, at(3, 100)), true));
  EXPECT_TRUE(runs.add(extent(20, 10, at(7, 300)), true));
  const MovedParts parts = runs.take();
  EXPECT_EQ(parts.blocks(), 30u);
  EXPECT_EQ(parts.of(Generation{3}).front().order, 10u);
}

TEST(ScatteredRuns, WhatLiesInOrderStays) {
  ScatteredRuns runs(usual);
  EXPECT_TRUE(runs.add(extent(0, 10, at(7, 100)), true));
  EXPECT_TRUE(runs.add(extent(10, 10, at(7, 110)), true));
  EXPECT_TRUE(runs.add(extent(40, 10, at(7, 130)), true));  // a gap in both
  EXPECT_TRUE(runs.take().empty());
}

TEST(ScatteredRuns, LongOnesStayAndSoDoesAShortOneBetweenThem) {
  ScatteredRuns runs(usual);
  EXPECT_TRUE(runs.add(extent(0, 300, at(7, 100)), true));
  EXPECT_TRUE(runs.add(extent(300, 10, at(3, 100)), true));
  EXPECT_TRUE(runs.add(extent(310, 300, at(8, 100)), true));
  EXPECT_TRUE(runs.take().empty());
}

TEST(ScatteredRuns, WhatMayNotMoveKeepsApartWhatMay) {
  ScatteredRuns runs(usual);
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(runs.add(extent(2 * i, 1, at(3 + i, 10)), true));
    EXPECT_TRUE(runs.add(extent(2 * i + 1, 1, at(9, 100 * i)), false));
  }
  EXPECT_TRUE(runs.take().empty());
}

TEST(ScatteredRuns, ABatchThatIsFullEndsBeforeWhatDoesNotFit) {
  ScatterNeed need = usual;
  need.most_blocks = 20;
  ScatteredRuns runs(need);
  EXPECT_TRUE(runs.add(extent(0, 10, at(3, 100)), true));
  EXPECT_TRUE(runs.add(extent(10, 10, at(4, 100)), true));
  EXPECT_FALSE(runs.add(extent(20, 10, at(5, 100)), true));
  EXPECT_EQ(runs.take().blocks(), 20u);
}

class DefragmentedPool : public PoolOnSimulatedDisk {
 protected:
  static constexpr uint64_t blocks = 2500;
  using Versions = std::map<uint64_t, uint8_t>;

  void SetUp() override {
    PoolOnSimulatedDisk::SetUp();
    auto made = wait(pool_->create("disk", blocks * block_size, {}));
    ASSERT_TRUE(made);
    disk_id_ = made->id;
  }
  std::vector<std::byte> content(uint64_t block, uint8_t version) {
    std::mt19937_64 random(block * 256 + version);
    std::vector<std::byte> data(block_size);
    for (std::byte& byte : data) byte = static_cast<std::byte>(random());
    return data;
  }
  // Every block, in an order of chance; or each `step`th.
  void scatter(uint8_t version, uint64_t step = 1) {
    std::vector<uint64_t> order;
    for (uint64_t block = 0; block < blocks; block += step) order.push_back(block);
    std::shuffle(order.begin(), order.end(), std::mt19937_64(version));
    for (const uint64_t block : order) {
      auto written = wait(pool_->write(disk_id_, block * block_size, content(block, version)));
      ASSERT_TRUE(written) << written.error().message;
      versions_[block] = version;
    }
    ASSERT_TRUE(wait(pool_->checkpoint()));
  }
  void expect_all(DeviceId device, const Versions& versions) {
    std::vector<std::byte> got(block_size);
    for (const auto& [block, version] : versions) {
      auto read = wait(pool_->read(device, block * block_size, got));
      ASSERT_TRUE(read) << block << ": " << read.error().message;
      ASSERT_EQ(got, content(block, version)) << block;
    }
  }
  static Task<Result<>> ask(Pool& pool, DeviceId device) { co_return pool.ask_defrag(device); }
  static Task<void> sleep(uint64_t ns) { co_await Sleep{ns}; }
  void pass(uint64_t ns) { ASSERT_TRUE(executor_->run_until(sleep(ns))); }
  DefragStatus defrag(DeviceId device) {
    EXPECT_TRUE(wait(ask(*pool_, device)));
    const uint64_t asked = pool_->status().defrag.asked;
    while (pool_->status().defrag.answered < asked) pass(1'000'000);
    return pool_->status().defrag;
  }
  DeviceId fork(const std::string& name, bool read_only) {
    std::vector<Pool::Fork> forks;
    forks.push_back({disk_id_, name});
    auto made = wait(pool_->fork(std::move(forks), read_only));
    EXPECT_TRUE(made);
    return made->front().id;
  }

  DeviceId disk_id_ = DeviceId::none;
  Versions versions_;
};

TEST_F(DefragmentedPool, WhatWasWrittenAtRandomComesToLieInOrder) {
  scatter(1);
  const DefragStatus status = defrag(disk_id_);
  EXPECT_EQ(status.ended, "done");
  EXPECT_GT(status.extents_before, blocks / 2);
  // But for what is in the segment that the log is in.
  EXPECT_LT(status.extents_after, status.extents_before / 8);
  expect_all(disk_id_, versions_);
  remount();
  expect_all(disk_id_, versions_);
}

TEST_F(DefragmentedPool, WhatIsInOrderIsNotMovedAgain) {
  scatter(1);
  const uint64_t moved = defrag(disk_id_).moved_bytes;
  EXPECT_GT(moved, blocks * block_size / 2);
  const DefragStatus again = defrag(disk_id_);
  EXPECT_LT(again.moved_bytes - moved, moved / 4);  // what the log was in then
  const DefragStatus third = defrag(disk_id_);
  EXPECT_EQ(third.moved_bytes, again.moved_bytes);
}

TEST_F(DefragmentedPool, WhatIsSharedIsMovedOnceForAll) {
  scatter(1);
  const DeviceId snapshot = fork("snapshot", true);
  const Versions old = versions_;
  scatter(2, 3);
  const uint64_t used = pool_->status().data_bytes;
  const DefragStatus status = defrag(DeviceId::none);
  EXPECT_EQ(status.ended, "done");
  EXPECT_LT(status.extents_after, status.extents_before / 2);
  expect_all(disk_id_, versions_);
  expect_all(snapshot, old);
  ASSERT_TRUE(wait(pool_->count_shares()));
  EXPECT_LE(pool_->status().data_bytes, used);
  remount();
  expect_all(disk_id_, versions_);
  expect_all(snapshot, old);
}

// C2: the home of an alias names where the data is then.
TEST_F(DefragmentedPool, CopiesFollow) {
  scatter(1);
  auto made = wait(pool_->create("copy", blocks * block_size, {}));
  ASSERT_TRUE(made);
  const uint64_t half = blocks / 2 * block_size;
  for (uint64_t done = 0; done < half;) {
    auto copied = wait(pool_->copy(disk_id_, done, made->id, half + done, half - done));
    ASSERT_TRUE(copied) << copied.error().message;
    ASSERT_GT(*copied, 0u);
    done += *copied;
  }
  Versions copied;
  scatter(2, 2);  // so that an alias alone keeps half of it
  EXPECT_EQ(defrag(DeviceId::none).ended, "done");
  remount();
  expect_all(disk_id_, versions_);
  std::vector<std::byte> got(block_size);
  for (uint64_t block = 0; block < blocks / 2; ++block) {
    auto read = wait(pool_->read(made->id, half + block * block_size, got));
    ASSERT_TRUE(read) << read.error().message;
    ASSERT_EQ(got, content(block, 1)) << block;
  }
}

TEST_F(DefragmentedPool, ItEndsEarlyWhereAPoolWouldFill) {
  scatter(1);
  auto big = wait(pool_->create("big", 256 * mib, {}));
  ASSERT_TRUE(big);
  const auto data = pattern(mib, 3);
  uint64_t filled = 0;
  while (wait(pool_->write(big->id, filled, data))) filled += data.size();
  const DefragStatus status = defrag(disk_id_);
  EXPECT_NE(status.ended, "");
  expect_all(disk_id_, versions_);
  expect_content(big->id, filled / 2, data);
  EXPECT_TRUE(wait(pool_->write(disk_id_, 0, content(0, 9))));  // promise 4
}

TEST_F(DefragmentedPool, StoppedMeansAnsweredSoonAndNothingLost) {
  scatter(1);
  ASSERT_TRUE(wait(ask(*pool_, disk_id_)));
  pool_->stop_defrag();
  const uint64_t asked = pool_->status().defrag.asked;
  while (pool_->status().defrag.answered < asked) pass(1'000'000);
  EXPECT_EQ(pool_->status().defrag.ended, "it was stopped");
  expect_all(disk_id_, versions_);
  EXPECT_EQ(defrag(disk_id_).ended, "done");
}

TEST_F(DefragmentedPool, ACrashInTheMidstOfItLosesNothing) {
  scatter(1);
  const DeviceId snapshot = fork("snapshot", false);
  const Versions old = versions_;
  scatter(2, 5);
  ASSERT_TRUE(wait(pool_->flush(disk_id_)));
  for (const uint64_t steps : {10, 40, 90, 150, 300, 600}) {
    ASSERT_TRUE(wait(ask(*pool_, DeviceId::none)));
    executor_->crash_after(steps);
    bool runs = true;
    while (runs && pool_->status().defrag.answered == 0)
      runs = executor_->run_until(sleep(1'000'000));
    crash();
    expect_all(disk_id_, versions_);
    expect_all(snapshot, old);
  }
}

TEST_F(DefragmentedPool, ADeviceThatThereIsNotIsRefused) {
  EXPECT_EQ(wait(ask(*pool_, DeviceId{4711})).error().code, Code::not_found);
}

}  // namespace
}  // namespace lamina
