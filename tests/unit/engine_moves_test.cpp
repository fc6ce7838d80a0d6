// SPDX-License-Identifier: Apache-2.0
// Batches of the mover beside checkpoints and copies: one at a time, and what lies twice counts.
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "engine/pool_state.h"
#include "engine/scrub/verify_segment.h"
#include "engine/recovery.h"
#include "engine/space/mover.h"
#include "engine_pool_fixture.h"

namespace lamina {
namespace {

// A pool without anything in the background: the test says what happens, and when.
class WithMoves : public PoolOnSimulatedDisk {
 protected:
  static constexpr BlockCount blocks{64};
  static constexpr BlockRange whole{DeviceBlock{0}, DeviceBlock{blocks.value}};

  virtual Blobs disks(bool fresh) { return blobs_on(medium_, *executor_, fresh); }
  void SetUp() override {
    auto fresh = disks(true);
    ASSERT_TRUE(wait(Pool::format(fresh, {})));
    auto opened = wait(Pool::open(disks(false), {}));
    ASSERT_TRUE(opened) << opened.error().message;
    pool_ = std::move(*opened);
    const auto made = wait(pool_->create("disk", 0, {}));
    ASSERT_TRUE(made && wait(pool_->create("copy", 0, {})));
    ASSERT_TRUE(wait(pool_->write(made->id, 0, pattern(blocks.bytes(), 1))));
    prepare(made->id);
    ASSERT_TRUE(wait(pool_->close()));
    pool_.reset();
    recover_pool();
  }
  virtual void prepare(DeviceId) {}
  void recover_pool() {
    auto recovered = wait(recover(disks(false), settings_));
    ASSERT_TRUE(recovered) << recovered.error().message;
    state_ = std::move(*recovered);
  }
  void crash() {
    state_.reset();
    medium_.power_cut(executor_->random());
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
    recover_pool();
  }
  DevicePtr device(const char* name) {
    Lock order(state_->log.order());
    return state_->devices.find(std::string_view(name));
  }
  std::vector<Extent> extents(const char* name) {
    auto resolved = wait(device(name)->map->resolve(state_->nodes, whole, SIZE_MAX));
    EXPECT_TRUE(resolved);
    return std::move(resolved->extents);
  }
  Address first_of(const char* name) { return extents(name).front().address; }
  // Of all data of both.
  uint64_t places() {
    std::set<Address> all;
    for (const char* name : {"disk", "copy"})
      for (const Extent& extent : extents(name))
        for (uint64_t i = 0; i < extent.length().value; ++i)
          all.insert(extent.address + BlockCount{i});
    return all.size();
  }
  uint64_t used_after_walk() {
    EXPECT_TRUE(wait(state_->count_figures()));
    return state_->checkpointer.used_blocks();
  }

  // All data of "disk" gets new places, with the next checkpoint.
  Reclaimer::PlannedMove all_of_disk() {
    Reclaimer::PlannedMove move;
    move.plan = [this](ImagePtr) { return plan(); };
    return move;
  }
  Task<Result<MovePlan>> plan() {
    ++planned_;
    auto resolved = co_await device("disk")->map->resolve(state_->nodes, whole, SIZE_MAX);
    if (!resolved) co_return forward_error(resolved);
    MovedParts parts;
    for (const Extent& extent : resolved->extents)
      parts.add({extent.address, static_cast<uint32_t>(extent.length().value), extent.begin.value});
    parts.finish();
    MovePlan plan;
    plan.policy = MovePolicy::defragmentation;
    plan.victims = parts.segments();
    plan.targets = state_->space.available(Claim::user);
    plan.parts = std::make_shared<const MovedParts>(std::move(parts));
    if (before_walk_) {
      Task<void> task = before_walk_();
      co_await task;
    }
    co_return plan;
  }
  void move_disk() {
    Reclaimer::PlannedMove move = all_of_disk();
    const auto moved = wait(state_->reclaimer.move_planned(move));
    ASSERT_TRUE(moved) << moved.error().message;
    ASSERT_TRUE(state_->checkpointer.has_moves());
  }
  Sequence last_entry() {
    Lock order(state_->log.order());
    return state_->log.last();
  }
  Task<void> checkpoint() {
    const auto done = co_await state_->checkpointer.run(true);
    EXPECT_TRUE(done);
  }
  void publish() { ASSERT_TRUE(executor_->run_until(checkpoint())); }

  Settings settings_;
  std::unique_ptr<PoolState> state_;
  int planned_ = 0;
  std::function<Task<void>()> before_walk_;  // of the image that was there before
};

TEST_F(WithMoves, LeavesAreWatchedForOneBatchUntilACheckpointHasIt) {
  EXPECT_TRUE(state_->checkpointer.watch_leaves());
  move_disk();
  EXPECT_FALSE(state_->checkpointer.watch_leaves()) << "what was made since its walk is forgotten";
  publish();
  EXPECT_TRUE(state_->checkpointer.watch_leaves());
}

// A4, A14: who looks through an image from before finds all that it names, whatever has been found
// dead since.
TEST_F(WithMoves, WhatAHeldImageNamesIsNotUsedAgain) {
  publish();
  ImagePtr held = state_->newest_image();
  const Generation old = first_of("disk").generation;
  const auto walk_and_free = [&]() -> Task<Result<>> {
    for (int checkpoints = 0; checkpoints < 4; ++checkpoints) {
      auto walked = co_await state_->reclaimer.measure(Reclaimer::Wanted::figures);
      if (!walked) co_return walked;
      auto freed = co_await state_->reclaimer.free_dead();
      if (!freed) co_return freed;
      Task<void> published = checkpoint();
      co_await published;
    }
    co_return Result<>{};
  };
  move_disk();
  publish();
  ASSERT_NE(first_of("disk").generation, old);
  ASSERT_TRUE(wait(walk_and_free()));
  const auto kept = state_->space.segment(old);
  ASSERT_TRUE(kept) << "it was used again";
  EXPECT_NE(kept->dead_in, 0U) << "nobody needs it but the image";
  held.reset();
  ASSERT_TRUE(wait(walk_and_free()));
  EXPECT_FALSE(state_->space.segment(old)) << "it has not come back";
}

// The checkpoint may fail and give them back to where the next batch would be.
TEST_F(WithMoves, NothingIsPlannedWhileACheckpointHasMoves) {
  const auto while_published = [this]() -> Task<bool> {
    spawn(checkpoint());
    while (!state_->checkpointer.watch_leaves()) co_await Yield{};
    EXPECT_TRUE(state_->checkpointer.has_moves());
    planned_ = 0;
    Reclaimer::PlannedMove move = all_of_disk();
    const auto moved = co_await state_->reclaimer.move_planned(move);
    while (state_->checkpointer.running()) co_await Yield{};
    co_return moved.has_value();
  };
  move_disk();
  EXPECT_TRUE(wait(while_published()));
  EXPECT_EQ(planned_, 0);
}

// They are there before anything of them is written, and a check that asks who uses what it has found
// asks later, when they are (sim, full, seed 2).
TEST_F(WithMoves, WhatTheLogHasOnlyNamedIsNotDamaged) {
  MovePace pace(*state_);
  size_t named = 0;
  for (const Segment& segment : state_->space.segments()) {
    if (segment.use != SegmentUse::open || segment.kind != SegmentClass::log) continue;
    const auto verified = wait(verify_segment(*state_, segment.name.generation, pace));
    ASSERT_TRUE(verified) << verified.error().message;
    EXPECT_TRUE(verified->bad.empty());
    ++named;
  }
  EXPECT_GE(named, chain_length);
}

// C2: the home of both aliases is the segment that the log is in, and the mover knows of the first;
// the other is in the leaf when its list is looked at (sim, random, seed 1734).
// D1: it is the leaves that cost, each once however many extents of it move.
TEST_F(WithMoves, ABatchWhoseLeavesCostMoreThanItGainsDoesNotPay) {
  const uint64_t affordable = state_->space.segment_blocks(0) / 4;  // two copies of each
  const Mover mover(*state_, last_entry());
  Mover::Batch batch;
  batch.gain = 1;
  WalkResult walked;
  for (uint64_t leaf = 1; leaf <= affordable; ++leaf)
    walked.referrers.insert(walked.referrers.end(), 3, {NodeId{leaf}, MapId{1}, Extent{}});
  EXPECT_TRUE(mover.pays(batch, walked));
  walked.referrers.push_back({NodeId{affordable + 1}, MapId{1}, Extent{}});
  EXPECT_FALSE(mover.pays(batch, walked));
  // Where users have no space left, it is made at any price.
  std::vector<Space::Permit> taken;
  while (auto permit = state_->space.permit(Claim::user, 0)) taken.push_back(std::move(*permit));
  EXPECT_TRUE(mover.pays(batch, walked));
}

TEST_F(WithMoves, TheSameCopyOnceMoreIsNotTakenForTheOneThatMoved) {
  const Address old = first_of("disk");
  const auto copy = [this]() -> Task<void> {
    PoolState::Share what{device("disk"), device("copy"), {}, {}, BlockCount{2}};
    const auto copied = co_await state_->share(std::move(what));
    EXPECT_TRUE(copied);
    co_await checkpoint();
  };
  ASSERT_TRUE(executor_->run_until(copy()));
  before_walk_ = copy;
  move_disk();
  publish();
  EXPECT_NE(first_of("disk"), old);
  EXPECT_EQ(first_of("copy"), old) << "as its home says";
  EXPECT_EQ(used_after_walk(), places());
}

// D2: what was looked up before the new places were published names the old ones.
TEST_F(WithMoves, ACopyOfWhatHasMovedMeanwhileCounts) {
  const Address old = first_of("disk");
  move_disk();
  publish();
  ASSERT_NE(first_of("disk"), old);
  const auto logged = wait(state_->step(Claim::user, 0, [&]() {
    Entry alias;
    alias.kind = EntryKind::alias;
    alias.map = state_->devices.find(std::string_view("copy"))->map->id();
    alias.source_map = state_->devices.find(std::string_view("disk"))->map->id();
    alias.length = BlockCount{2};
    alias.address = old;
    return Result<std::vector<PoolState::StepEntry>>({{std::move(alias), {}}});
  }));
  ASSERT_TRUE(logged);
  const uint64_t used = used_after_walk();
  EXPECT_EQ(places(), blocks.value + 2);
  EXPECT_EQ(used, places());
}

// D2: a copy that is logged while a checkpoint publishes new places names the old ones, and of what
// it keeps there only the log knows.
TEST_F(WithMoves, ACopyOfWhatWasMovingCountsAfterACrash) {
  int came_to_that = 0;
  for (uint64_t delay = 0; delay < 40; ++delay) {
    const auto copy_while_published = [&]() -> Task<bool> {
      spawn(checkpoint());
      const uint64_t until = executor_->steps() + delay;
      while (executor_->steps() < until && state_->checkpointer.running()) co_await Yield{};
      PoolState::Share what{device("disk"), device("copy"), {}, {}, BlockCount{2}};
      const auto copied = co_await state_->share(std::move(what));
      while (state_->checkpointer.running()) co_await Yield{};
      if (!copied) co_return false;
      const auto durable = co_await state_->log.flush(last_entry());
      co_return durable.has_value();
    };
    move_disk();
    ASSERT_TRUE(wait(copy_while_published()));
    crash();
    came_to_that += first_of("copy") != first_of("disk");
    ASSERT_EQ(used_after_walk(), places()) << "after " << delay << " steps of the disk";
  }
  EXPECT_GT(came_to_that, 0);
}

class WithPinsAndMoves : public WithMoves {
 protected:
  Blobs disks(bool fresh) override {
    Blobs blobs = WithMoves::disks(fresh);
    if (fresh)
      add_fresh_blob(blobs, slow_, *executor_, "below", BlobKind::transparent, 1);
    else
      blobs.push_back(blob_on(slow_, *executor_));
    return blobs;
  }
  void prepare(DeviceId disk) override {
    ASSERT_TRUE(wait(pool_->pin(disk, "journal")));
    settings_.nodes_bytes = 0;  // each look at the maps takes its time
  }

  SimMedium slow_{"slow", pool_bytes};
};

// A5: a walk reads the image that it began with, while a checkpoint of the same cut settles what
// the mover has filled. What is pinned is counted in between.
TEST_F(WithPinsAndMoves, WhatIsPublishedWhilePinsAreCountedIsNotFoundDead) {
  int came_to_that = 0;
  for (uint64_t delay = 0; delay < 40; ++delay) {
    publish();  // nothing is logged from here on
    const ImagePtr before = state_->newest_image();
    const auto walk_while_published = [&]() -> Task<Result<>> {
      spawn(checkpoint());
      const uint64_t until = executor_->steps() + delay;
      while (executor_->steps() < until && state_->checkpointer.running()) co_await Yield{};
      came_to_that += state_->newest_image() == before;
      const auto walked = co_await state_->reclaimer.measure(Reclaimer::Wanted::figures);
      while (state_->checkpointer.running()) co_await Yield{};
      co_return walked;
    };
    move_disk();
    ASSERT_TRUE(wait(walk_while_published()));
    ASSERT_EQ(state_->checkpointer.cut(), before->cut);
    const auto target = state_->space.segment(first_of("disk").generation);
    ASSERT_TRUE(target);
    ASSERT_EQ(target->dead_in, 0u) << "after " << delay << " steps of the disk";
    crash();
  }
  EXPECT_GT(came_to_that, 0);
}

}  // namespace
}  // namespace lamina
