// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "engine/space/fullness.h"

namespace lamina {
namespace {

constexpr uint64_t pool_size = 1'000'000;

TEST(Fullness, EachStepIsToldOfOnce) {
  FullnessWatch watch;
  EXPECT_FALSE(watch.look(799'999, pool_size, false));
  const auto first = watch.look(800'000, pool_size, false);
  ASSERT_TRUE(first);
  EXPECT_TRUE(first->rose);
  EXPECT_EQ(first->now.percent, 80U);
  EXPECT_EQ(first->now.free, 200'000U);
  EXPECT_FALSE(watch.look(899'999, pool_size, false));
  const auto second = watch.look(960'000, pool_size, false);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->now.percent, 95U);  // one, for all that lie between
  EXPECT_EQ(watch.percent(), 95U);
}

TEST(Fullness, GoingToAndFroAroundAStepIsToldOfOnce) {
  FullnessWatch watch;
  ASSERT_TRUE(watch.look(900'000, pool_size, false));
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(watch.look(880'000, pool_size, false));
    EXPECT_FALSE(watch.look(905'000, pool_size, false));
  }
  const auto left = watch.look(879'999, pool_size, false);
  ASSERT_TRUE(left);
  EXPECT_FALSE(left->rose);
  EXPECT_EQ(left->now.percent, 80U);
  const auto again = watch.look(900'000, pool_size, false);
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->rose);
  const auto empty = watch.look(0, pool_size, false);
  ASSERT_TRUE(empty);
  EXPECT_EQ(empty->now.percent, 0U);
}

TEST(Fullness, ANearlyFullPoolThatRefusesIsFull) {
  FullnessWatch watch;
  EXPECT_FALSE(watch.look(500'000, pool_size, true));  // something large was asked for
  const auto full = watch.look(990'000, pool_size, true);
  ASSERT_TRUE(full);
  EXPECT_EQ(full->now.percent, 100U);
  EXPECT_FALSE(watch.look(985'000, pool_size, false));
  const auto left = watch.look(979'000, pool_size, false);
  ASSERT_TRUE(left);
  EXPECT_EQ(left->now.percent, 95U);
}

TEST(Fullness, NoSizeIsTooLargeAndNoneTooSmall) {
  FullnessWatch watch;
  EXPECT_TRUE(watch.look(UINT64_MAX - UINT64_MAX / 11, UINT64_MAX, false));
  EXPECT_EQ(watch.percent(), 90U);
  FullnessWatch empty;
  EXPECT_TRUE(empty.would_rise(0, 0));  // nothing ever fits
}

}  // namespace
}  // namespace lamina
