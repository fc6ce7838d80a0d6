// SPDX-License-Identifier: Apache-2.0
// A disk that fails for good costs nothing where another one can take the log (A19), and what a
// seal would have said of a log segment its records say as well (B4).
#include <gtest/gtest.h>

#include <set>

#include "blobs/segment.h"
#include "blobs/sim_disk.h"
#include "engine/log/chain.h"
#include "engine/pool.h"
#include "engine_pool_fixture.h"

namespace lamina {
namespace {

SegmentChain on_disks(const std::array<uint16_t, chain_length>& blobs) {
  SegmentChain names{};
  for (size_t i = 0; i < names.size(); ++i) names[i].blob = BlobId{blobs[i]};
  return names;
}

// A3: what stays unwritten lies on two disks, where they are near enough to be waited for.
TEST(Chain, TheLastNamesThatStayUnwrittenAreOnTwoDisks) {
  EXPECT_EQ(kept_unwritten(on_disks({0, 1, 0, 1})), 2u);
  EXPECT_EQ(kept_unwritten(on_disks({1, 0, 1, 1})), 3u);
  EXPECT_EQ(kept_unwritten(on_disks({1, 0, 0, 0})), 1u);
  EXPECT_EQ(kept_unwritten(on_disks({0, 0, 0, 0})), 1u);
}

// A pool of two journal blobs.
class TwoDisks : public PoolOnSimulatedDisk, public testing::WithParamInterface<size_t> {
 protected:
  static constexpr uint64_t device_bytes = 16 * mib;
  static constexpr SimFaults failing{.fail_write_every = 1, .fail_flush_every = 1};

  void SetUp() override {
    auto blobs = blobs_on(medium_, *executor_, true);
    add_fresh_blob(blobs, other_, *executor_, "other", BlobKind::journal, 0);
    auto made = wait(Pool::format(blobs, {}));
    ASSERT_TRUE(made) << made.error().message;
    open();
    auto created = wait(pool_->create("disk", device_bytes, {}));
    ASSERT_TRUE(created);
    device_ = created->id;
  }
  void open(std::set<size_t> fail = {}) {
    auto blobs = blobs_on(medium_, *executor_, false);
    blobs.push_back(blob_on(other_, *executor_));
    ASSERT_TRUE(blobs.back());
    disks_ = {&blobs[0]->disk(), &blobs[1]->disk()};
    for (const size_t which : fail) set_faults(*disks_[which], failing);
    auto opened = wait(Pool::open(std::move(blobs), {}));
    ASSERT_TRUE(opened) << opened.error().message;
    pool_ = std::move(*opened);
  }
  void crash(std::set<size_t> fail = {}) {
    pool_.reset();
    medium_.power_cut(executor_->random());
    other_.power_cut(executor_->random());
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
    open(std::move(fail));
  }
  void put(uint64_t offset, uint8_t seed, size_t bytes = 64 * kib) {
    auto written = wait(pool_->write(device_, offset, pattern(bytes, seed)));
    ASSERT_TRUE(written) << written.error().message;
  }
  // Some of it lies on each disk, in segments that are sealed and in the one that is not.
  void put_all(uint8_t seed) {
    for (uint64_t at = 0; at < device_bytes; at += 64 * kib) put(at, seed);
    ASSERT_TRUE(wait(pool_->flush(device_)));
  }
  void expect_all(uint8_t seed) {
    for (uint64_t at = 0; at < device_bytes; at += 64 * kib)
      expect_content(device_, at, pattern(64 * kib, seed));
  }

  SimMedium other_{"other", pool_bytes};
  std::vector<Disk*> disks_;
  DeviceId device_ = DeviceId::none;
};

INSTANTIATE_TEST_SUITE_P(OneFails, TwoDisks, testing::Values(0, 1));

TEST_P(TwoDisks, TheLogGoesOnOnTheOther) {
  put_all(1);
  set_faults(*disks_[GetParam()], failing);
  put_all(2);
  ASSERT_TRUE(wait(pool_->checkpoint()));
  put_all(3);
  expect_all(3);
  const PoolStatus status = pool_->status();
  EXPECT_FALSE(status.read_only) << status.health;
  EXPECT_EQ(status.blobs[1 - GetParam()].health, "ok");
  EXPECT_TRUE(status.blobs[GetParam()].health.starts_with("failed"));
}

TEST_P(TwoDisks, OneThatFailedStaysOutAndWhatLiesOnItIsRead) {
  put_all(1);
  put(device_bytes / 2, 7);
  ASSERT_TRUE(wait(pool_->flush(device_)));
  set_faults(*disks_[GetParam()], failing);
  put(0, 2);
  ASSERT_TRUE(wait(pool_->flush(device_)));
  ASSERT_TRUE(wait(pool_->checkpoint()));
  const auto check = [this] {
    expect_content(device_, 0, pattern(64 * kib, 2));
    expect_content(device_, 64 * kib, pattern(64 * kib, 1));
    expect_content(device_, device_bytes / 2, pattern(64 * kib, 7));
    expect_content(device_, device_bytes - 64 * kib, pattern(64 * kib, 1));
    EXPECT_TRUE(pool_->status().blobs[GetParam()].health.starts_with("failed"));
    EXPECT_TRUE(pool_->lost().empty());
  };
  crash({GetParam()});
  check();
  crash();  // and when it would work again: nobody knows what it has missed
  check();
  const uint64_t used = pool_->status().blobs[GetParam()].used;
  put_all(4);
  EXPECT_LE(pool_->status().blobs[GetParam()].used, used);
}

// A recovery goes on without a disk that fails, as the pool would have, if all of it is known to be
// on the medium: what a flush may have answered for is not given up.
TEST_P(TwoDisks, OneThatFailsWhileThePoolOpensIsDoneWithout) {
  put_all(1);
  ASSERT_TRUE(executor_->run_until([]() -> Task<void> { co_await Sleep{3'000'000'000}; }()));
  crash({GetParam()});
  expect_all(1);
  EXPECT_FALSE(pool_->status().read_only);
  EXPECT_TRUE(pool_->status().blobs[GetParam()].health.starts_with("failed"));
  put(0, 9);
  ASSERT_TRUE(wait(pool_->sync()));
}

TEST_P(TwoDisks, WhereTheLastOneFailsThePoolIsReadOnly) {
  put_all(1);
  set_faults(*disks_[GetParam()], failing);
  put_all(2);
  set_faults(*disks_[1 - GetParam()], failing);
  auto written = wait(pool_->write(device_, 0, pattern(block_size, 3)));
  if (written) {
    EXPECT_FALSE(wait(pool_->flush(device_)));
  }
  EXPECT_TRUE(pool_->status().read_only);
  expect_content(device_, 64 * kib, pattern(64 * kib, 2));
}

// B4: damaged checksums and summary of a log segment cost nothing: they are read, and moved.
TEST_F(PoolOnSimulatedDisk, WhatASealSaidOfALogSegmentItsRecordsSayToo) {
  auto created = wait(pool_->create("disk", 8 * mib, {}));
  ASSERT_TRUE(created);
  for (uint64_t at = 0; at < 8 * mib; at += 64 * kib)
    ASSERT_TRUE(
        wait(pool_->write(created->id, at, pattern(64 * kib, static_cast<uint8_t>(at >> 16)))));
  ASSERT_TRUE(wait(pool_->sync()));
  const uint64_t segment = pool_->status().blobs[0].segment_bytes;
  remount();
  std::vector<std::byte> block(block_size), junk(block_size, std::byte{0x5a});
  size_t damaged = 0;
  for (uint64_t at = mib; at + segment <= pool_bytes - mib; at += block_size) {
    medium_.read(at, block);
    const auto header = unpack_segment_header(block);
    if (!header || header->kind != SegmentClass::log || header->state != SegmentState::sealed)
      continue;
    medium_.damage(at + block_size, junk);
    medium_.damage(at + segment - block_size, junk);
    ++damaged;
  }
  EXPECT_GT(damaged, 20u);
  for (uint64_t at = 0; at < 8 * mib; at += 64 * kib)
    expect_content(created->id, at, pattern(64 * kib, static_cast<uint8_t>(at >> 16)));
  EXPECT_TRUE(pool_->lost().empty());
}

}  // namespace
}  // namespace lamina
