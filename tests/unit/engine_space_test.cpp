// SPDX-License-Identifier: Apache-2.0
// Who gets the last free segments (D5).
#include <gtest/gtest.h>

#include "engine/log/log.h"
#include "tests/unit/engine_pool_fixture.h"

namespace lamina {
namespace {

class SpaceTest : public testing::Test {
 protected:
  void take_all() {
    while (const auto name = space_.take(SegmentClass::nodes, Claim::checkpoint))
      taken_.push_back(name->generation);
  }
  void give_back() {
    for (const Generation generation : taken_) space_.release(generation);
    taken_.clear();
  }

  SimMedium medium_{"disk", pool_bytes};
  SimExecutor executor_{1};
  Blobs blobs_ = blobs_on(medium_, executor_, true);
  Space space_{blobs_};
  std::vector<Generation> taken_;
};

TEST_F(SpaceTest, WhatOneIsPermittedNobodyElseTakes) {
  auto kept = space_.permit(Claim::user), not_used = space_.permit(Claim::user);
  ASSERT_TRUE(kept && not_used);
  take_all();
  EXPECT_FALSE(space_.permit(Claim::checkpoint));
  EXPECT_NE(Generation::none, space_.take(SegmentClass::log, *std::move(kept))->generation);
  EXPECT_FALSE(space_.take(SegmentClass::log, Claim::checkpoint));
  not_used.reset();
  EXPECT_TRUE(space_.take(SegmentClass::log, Claim::checkpoint));
  EXPECT_EQ(0u, space_.counts().free);
}

TEST_F(SpaceTest, NothingIsTakenOfABlobThatDoesNotServe) {
  const uint64_t capacity = space_.capacity_blocks(), free = space_.counts().free;
  const auto before = space_.take(SegmentClass::log, Claim::user);
  ASSERT_TRUE(before);
  for (const BlobUse use : {BlobUse::leaving, BlobUse::failed}) {
    space_.set_use(blobs_[0]->id(), use);
    EXPECT_FALSE(space_.may_take(Claim::checkpoint));
    EXPECT_FALSE(space_.take(SegmentClass::nodes, Claim::checkpoint));
    EXPECT_FALSE(space_.take_elsewhere(SegmentClass::nodes, Claim::checkpoint, BlobId::none));
    EXPECT_FALSE(space_.borrow_unprepared());
    EXPECT_EQ(0u, space_.counts().free);
    EXPECT_EQ(0u, space_.capacity_blocks());
  }
  // What comes back meanwhile is there when it serves again.
  space_.release(before->generation);
  space_.set_use(blobs_[0]->id(), BlobUse::serves);
  EXPECT_EQ(free, space_.counts().free);
  EXPECT_EQ(capacity, space_.capacity_blocks());
  EXPECT_TRUE(space_.take(SegmentClass::log, Claim::user));
}

// Checkpoints and the mover take segments without the log's lock: also between has_room() and
// begin(), which then goes on in another segment. The daemon ended where there was none.
TEST_F(SpaceTest, TheLogHasTheSegmentThatItFoundRoomIn) {
  PoolIdentity identity;
  identity.epoch = 1;
  Settings settings;
  settings.background = &executor_;
  Sums sums(settings.sums_bytes);
  Counters counters;
  Log log(identity, settings, space_, sums, counters);
  const auto first = space_.take(SegmentClass::log, Claim::checkpoint);
  Result<> started;
  ASSERT_TRUE(executor_.run_until(log.start(*first, 0, 0, {}), started));
  ASSERT_TRUE(started) << started.error().message;
  const uint32_t blocks = log.step_blocks();
  const std::vector<std::byte> payload(blocks * block_size);
  Lock lock(log.order());
  for (const uint64_t before = log.ordinal(); log.ordinal() == before;) {
    ASSERT_TRUE(log.has_room(blocks, Claim::user));
    take_all();
    log.begin(64, blocks);
    Entry entry;
    entry.kind = EntryKind::write;
    entry.map = MapId{1};
    entry.length = BlockCount{blocks};
    log.add(entry, payload);
    give_back();
  }
}

// A4, B2: a segment that tables say nothing of is not freed, or a repair could not tell it from one
// that has vanished. Its tables had been written when a walk of the checkpoint before ended.
TEST_F(SpaceTest, WhatIsFoundDeadWhileTablesAreWrittenIsDeadInTheirCheckpoint) {
  const auto before = space_.take(SegmentClass::log, Claim::user),
             after = space_.take(SegmentClass::log, Claim::user);
  ASSERT_TRUE(before && after);
  for (const auto& name : {before, after}) {
    space_.seal(name->generation, 10);
    space_.settle(name->generation, 100);
  }
  space_.mark_dead(before->generation, 38, 100);
  const std::vector<Segment> told = space_.tell_tables(39);
  space_.mark_dead(after->generation, 38, 100);
  EXPECT_EQ(space_.segment(before->generation)->dead_in, 38u);
  EXPECT_EQ(space_.segment(after->generation)->dead_in, 39u);
  for (const Segment& s : told)
    EXPECT_EQ(s.dead_in, s.name.generation == before->generation ? 38u : 0u);
}

}  // namespace
}  // namespace lamina
