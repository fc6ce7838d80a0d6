// SPDX-License-Identifier: Apache-2.0
// A pool whose disk becomes larger while it is open.
#include <gtest/gtest.h>

#include "engine_pool_fixture.h"

namespace lamina {
namespace {

class APoolThatGrows : public PoolOnSimulatedDisk {
 protected:
  // Writes until it is full; bytes that were taken.
  uint64_t fill(DeviceId device) {
    const std::vector<std::byte> data = pattern(256 * kib, 1);
    uint64_t end = 0;
    for (;; end += data.size()) {
      const auto written = wait(pool_->write(device, end, data));
      if (written) continue;
      EXPECT_EQ(written.error().code, Code::no_space);
      return end;
    }
  }
  DeviceId make_device() {
    const auto device = wait(pool_->create("vm1", gib, {}));
    EXPECT_TRUE(device);
    return device->id;
  }
};

TEST_F(APoolThatGrows, TakesMoreWhereItWasFull) {
  const DeviceId device = make_device();
  const uint64_t filled = fill(device);
  medium_.grow(2 * pool_bytes);
  const uint64_t before = pool_->status().size;
  const auto grown = wait(pool_->grow(""));
  ASSERT_TRUE(grown) << grown.error().message;
  ASSERT_EQ(grown->size(), 1U);
  EXPECT_EQ(grown->front().size, 2 * pool_bytes);
  EXPECT_GT(pool_->status().size, before + pool_bytes * 8 / 10);
  const std::vector<std::byte> more = pattern(16 * mib, 2);
  ASSERT_TRUE(wait(pool_->write(device, filled, more)));
  ASSERT_TRUE(wait(pool_->flush(device)));
  crash();
  expect_content(device, 0, pattern(256 * kib, 1));
  expect_content(device, filled, more);
}

TEST_F(APoolThatGrows, DoesNothingWhereNothingHasGrown) {
  const CheckpointNumber before = pool_->status().checkpoint;
  const auto grown = wait(pool_->grow(""));
  ASSERT_TRUE(grown);
  EXPECT_TRUE(grown->empty());
  EXPECT_EQ(pool_->status().checkpoint, before);
  const auto unknown = wait(pool_->grow("slow"));
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Code::not_found);
}

// The slots' second copies move with the end: the first ones may be damaged afterwards.
TEST_F(APoolThatGrows, HasBothCopiesOfItsSlotsAtItsNewEnds) {
  const DeviceId device = make_device();
  const std::vector<std::byte> data = pattern(mib, 3);
  ASSERT_TRUE(wait(pool_->write(device, 0, data)));
  ASSERT_TRUE(wait(pool_->checkpoint()));
  medium_.grow(2 * pool_bytes);
  ASSERT_TRUE(wait(pool_->grow("journal")));
  const std::vector<std::byte> noise(slot_ring_length * block_size, std::byte{0x5a});
  medium_.damage(slot_ring_offset, noise);
  crash();
  expect_content(device, 0, data);
}

}  // namespace
}  // namespace lamina
