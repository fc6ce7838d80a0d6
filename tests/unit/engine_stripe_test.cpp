// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "engine/space/stripe.h"

namespace lamina {
namespace {

TEST(Stripe, AlternatesBetweenEqualBlobs) {
  Stripe stripe;
  std::vector<uint64_t> free{100, 100};
  size_t before = 9;
  for (int i = 0; i < 200; ++i) {
    const auto turn = stripe.next(free);
    ASSERT_TRUE(turn);
    EXPECT_NE(*turn, before) << i;
    --free[*turn];
    before = *turn;
  }
  EXPECT_FALSE(stripe.next(free));
}

TEST(Stripe, BlobsOfAnySizesAreFullAtTheSameTimeAndNoneWaitsLong) {
  Stripe stripe;
  std::vector<uint64_t> free{900, 300, 100};
  std::vector<int> since(3, 0);
  for (int taken = 0; taken < 1300; ++taken) {
    const auto turn = stripe.next(free);
    ASSERT_TRUE(turn);
    --free[*turn];
    for (int& one : since) ++one;
    since[*turn] = 0;
    EXPECT_LE(since[2], 30) << taken;
    EXPECT_LE(since[1], 12) << taken;
    EXPECT_NEAR(static_cast<double>(free[0]), 9.0 * static_cast<double>(free[2]), 18) << taken;
  }
  EXPECT_EQ(free, std::vector<uint64_t>(3, 0));
}

// One after the other on different disks, whatever their sizes: each is to be avoided right after
// it was taken from.
TEST(Stripe, WhatIsAvoidedIsNotChosenWhereAnotherHasAny) {
  Stripe stripe;
  std::vector<uint64_t> free{500, 50};
  size_t before = 9;
  for (int i = 0; i < 100; ++i) {
    std::vector<uint64_t> can_give = free;
    if (before < 2) can_give[before] = 0;
    const auto turn = stripe.next(can_give);
    ASSERT_TRUE(turn);
    EXPECT_NE(*turn, before);
    --free[before = *turn];
  }
}

}  // namespace
}  // namespace lamina
