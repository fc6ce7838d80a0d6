// SPDX-License-Identifier: Apache-2.0
// Reservations (D8): each block of one is drawn on once, by whatever takes its place.
#include "engine_pool_fixture.h"

namespace lamina {
namespace {

class WithReservation : public PoolOnSimulatedDisk {
 protected:
  static constexpr uint64_t reserved = 64;

  void SetUp() override {
    PoolOnSimulatedDisk::SetUp();
    const auto made = wait(pool_->create("a", 16 * mib, {}));
    ASSERT_TRUE(made) << made.error().message;
    id_ = made->id;
    ASSERT_TRUE(wait(pool_->reserve(id_, 0, reserved * block_size, true)));
    remount();  // its map is on the medium alone, so looking takes time
    ASSERT_EQ(left(), reserved);
  }
  uint64_t left() const { return pool_->find("a")->reserved_bytes / block_size; }

  Task<void> write_first(std::vector<std::byte> data, Completion& done) {
    const auto written = co_await pool_->write(id_, 0, data);
    EXPECT_TRUE(written);
    done.signal();
  }
  Task<Result<>> write_first_twice() {
    Completion one, other;
    spawn(write_first(pattern(block_size, 1), one));
    spawn(write_first(pattern(block_size, 2), other));
    co_await one;
    co_await other;
    co_return Result<>{};
  }

  DeviceId id_ = DeviceId::none;
};

TEST_F(WithReservation, TwoWritesAtOnceOfTheSameBlockDrawOnItOnce) {
  ASSERT_TRUE(wait(write_first_twice()));
  EXPECT_EQ(left(), reserved - 1);
  expect_content(id_, 0, pattern(block_size, 2));
  crash();
  EXPECT_LE(left(), reserved);
  EXPECT_GE(left(), reserved - 1);
}

TEST_F(WithReservation, ZeroesDrawOnItAsADiscardDoes) {
  ASSERT_TRUE(wait(pool_->write(id_, 0, std::vector<std::byte>(4 * block_size))));
  EXPECT_EQ(left(), reserved - 4);
  ASSERT_TRUE(wait(pool_->erase(id_, 4 * block_size, 4 * block_size)));
  EXPECT_EQ(left(), reserved - 8);
  ASSERT_TRUE(wait(pool_->write(id_, 0, pattern(16 * block_size, 1))));
  EXPECT_EQ(left(), reserved - 16);
}

}  // namespace
}  // namespace lamina
