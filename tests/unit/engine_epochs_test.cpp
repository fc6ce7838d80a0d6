// SPDX-License-Identifier: Apache-2.0
// What a new epoch must not give out again: numbers of checkpoints, and generations (A3).
#include <gtest/gtest.h>

#include <random>

#include "blobs/sim_disk.h"
#include "engine/pool.h"
#include "engine/space/space.h"

namespace lamina {
namespace {

constexpr uint64_t pool_bytes = 64 * mib;

std::vector<std::unique_ptr<JournalBlob>> blobs_on(SimMedium& medium, SimExecutor& executor) {
  const auto geometry = JournalBlob::plan(pool_bytes, 0, 0);
  EXPECT_TRUE(geometry);
  Superblock superblock;
  superblock.blob = BlobId{0};
  superblock.pool_name = "test";
  superblock.blob_name = "journal";
  superblock.pool[0] = std::byte{1};
  superblock.size = geometry->size;
  superblock.segment_blocks = geometry->segment_blocks;
  superblock.segment_count = geometry->segment_count;
  superblock.erase_bytes = geometry->erase_bytes;
  superblock.middle = geometry->middle;
  std::vector<std::unique_ptr<JournalBlob>> blobs;
  blobs.push_back(std::make_unique<JournalBlob>(open_sim_disk(medium, executor), superblock));
  return blobs;
}

class APoolThatCrashes : public testing::Test {
 protected:
  template <class T>
  T wait(Task<T> task) {
    T out{};
    EXPECT_TRUE(executor_->run_until(std::move(task), out));
    return out;
  }
  void SetUp() override {
    auto fresh = blobs_on(medium_, *executor_);
    ASSERT_TRUE(wait(Pool::format(fresh, {})));
    fresh.clear();
    open();
  }
  void open() {
    auto opened = wait(Pool::open(blobs_on(medium_, *executor_), {}));
    ASSERT_TRUE(opened) << opened.error().message;
    pool_ = std::move(*opened);
  }
  void crash_and_open() {
    pool_.reset();
    medium_.power_cut(random_);
    executor_ = std::make_unique<SimExecutor>(1);
    open();
  }
  CheckpointNumber checkpoint() {
    const std::vector<std::byte> data(block_size, std::byte{static_cast<uint8_t>(++writes_)});
    EXPECT_TRUE(wait(pool_->write(device_, 0, data)));
    EXPECT_TRUE(wait(pool_->checkpoint()));
    return pool_->status().checkpoint;
  }

  std::mt19937_64 random_{1};
  std::unique_ptr<SimExecutor> executor_ = std::make_unique<SimExecutor>(1);
  SimMedium medium_{"disk", pool_bytes};
  std::unique_ptr<Pool> pool_;
  DeviceId device_ = DeviceId::none;
  unsigned writes_ = 0;
};

TEST_F(APoolThatCrashes, TakesNoNumberThatADeadCheckpointCanHaveTaken) {
  const auto device = wait(pool_->create("vm1", 1 * mib, {}));
  ASSERT_TRUE(device);
  device_ = device->id;
  CheckpointNumber before = checkpoint();
  EXPECT_EQ(checkpoint(), before + 1);
  for (int life = 0; life < 20; ++life) {
    before = pool_->status().checkpoint;
    crash_and_open();
    // The dead life may have begun before + 1; the next place of the ring is the same.
    const CheckpointNumber now = checkpoint();
    EXPECT_GT(now, before + 1);
    EXPECT_EQ(now % slot_ring_length, (before + 1) % slot_ring_length);
  }
}

TEST(SpaceDeathTest, GivesOutNoGenerationFromTheMarkOn) {
  SimMedium medium("disk", pool_bytes);
  SimExecutor nobody(0);
  const auto blobs = blobs_on(medium, nobody);
  Space space(blobs);
  space.set_generation_mark(3);
  EXPECT_TRUE(space.take(SegmentClass::log, Claim::checkpoint));
  EXPECT_TRUE(space.take(SegmentClass::log, Claim::checkpoint));
  EXPECT_DEATH(space.take(SegmentClass::log, Claim::checkpoint), "generation");
}

}  // namespace
}  // namespace lamina
