// SPDX-License-Identifier: Apache-2.0
// What a new epoch must not give out again: numbers of checkpoints, and generations (A3).
#include <gtest/gtest.h>

#include "engine/space/space.h"
#include "engine/repair/find_end.h"
#include "engine_pool_fixture.h"

namespace lamina {
namespace {

class APoolThatCrashes : public PoolOnSimulatedDisk {
 protected:
  CheckpointNumber checkpoint() {
    const std::vector<std::byte> data(block_size, std::byte{static_cast<uint8_t>(++writes_)});
    EXPECT_TRUE(wait(pool_->write(device_, 0, data)));
    EXPECT_TRUE(wait(pool_->checkpoint()));
    return pool_->status().checkpoint;
  }

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
    crash();
    // The dead life may have begun before + 1; the next place of the ring is the same.
    const CheckpointNumber now = checkpoint();
    EXPECT_GT(now, before + 1);
    EXPECT_EQ(now % slot_ring_length, (before + 1) % slot_ring_length);
  }
}

TEST(SpaceDeathTest, GivesOutNoGenerationFromTheMarkOn) {
  SimMedium medium("disk", pool_bytes);
  SimExecutor nobody(0);
  const auto blobs = blobs_on(medium, nobody, true);
  Space space(blobs);
  space.set_generation_mark(3);
  EXPECT_TRUE(space.take(SegmentClass::log, Claim::checkpoint));
  EXPECT_TRUE(space.take(SegmentClass::log, Claim::checkpoint));
  EXPECT_DEATH(space.take(SegmentClass::log, Claim::checkpoint), "generation");
}

// A2: a mount does not take what is only repeated, and not known to have been durable, either.
TEST(FindEnd, WhatIsOnlyRepeatedEndsTheLog) {
  Scan scan;
  scan.epoch = 6;
  scan.durable = 374;
  scan.records = {{6, 365, 374, false}, {6, 375, 376, true}, {6, 377, 379, true}};
  EXPECT_EQ(find_end(scan), 379u);
  scan.records[1].whole = false;
  EXPECT_EQ(find_end(scan), 374u);
}

}  // namespace
}  // namespace lamina
