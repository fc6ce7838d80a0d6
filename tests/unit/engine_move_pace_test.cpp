// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/units.h"
#include "engine/space/move_pace.h"

namespace lamina {
namespace {

constexpr PaceNeed beside_slow_users{
    .left = gib, .room = 4 * gib, .users_write = 10 * mib, .least = 80 * mib};

TEST(MovePace, RoomThatLastsLongLeavesUsersAlone) {
  EXPECT_EQ(pace_of(beside_slow_users), 80 * mib);
}

TEST(MovePace, ABatchIsThroughBeforeUsersHaveUsedUpTheirRoom) {
  PaceNeed need = beside_slow_users;
  need.users_write = 800 * mib;  // the room lasts 5.12 s
  EXPECT_EQ(pace_of(need), 400 * mib);
  need.room /= 2;
  EXPECT_EQ(pace_of(need), 800 * mib);
  need.left /= 4;
  EXPECT_EQ(pace_of(need), 200 * mib);
}

TEST(MovePace, NothingHoldsItBackWhereThereIsNoRoom) {
  PaceNeed need = beside_slow_users;
  need.room = 0;
  EXPECT_EQ(pace_of(need), UINT64_MAX);
}

TEST(MovePace, ABatchFitsTheTimeThatUsersRoomLasts) {
  PaceNeed need = beside_slow_users;
  need.users_write = 512 * mib;  // 8 s, of which half are for it
  EXPECT_EQ(batch_of(need), 320 * mib);
  need.left = batch_of(need);
  EXPECT_EQ(pace_of(need), need.least);
}

TEST(MovePace, WhereNobodyWritesABatchMayHaveAnySize) {
  PaceNeed need = beside_slow_users;
  need.users_write = 0;
  EXPECT_EQ(batch_of(need), UINT64_MAX);
  need.users_write = 1;
  EXPECT_GT(batch_of(need), 1000 * gib);
}

}  // namespace
}  // namespace lamina
