// SPDX-License-Identifier: Apache-2.0
// Tiers: what ages and what stays, and that it is all there afterwards, compressed or not.
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "blobs/frame_format.h"
#include "engine/pool.h"
#include "engine/space/aging.h"
#include "engine/space/claims.h"
#include "engine/space/written_times.h"
#include "engine_pool_fixture.h"

namespace lamina {
namespace {

Segment segment(uint32_t generation, int64_t live, Sequence age, uint64_t reads = 0) {
  Segment s;
  s.name.generation = Generation{generation};
  s.live_blocks = live;
  s.settled = age;
  s.reads = reads;
  return s;
}

std::set<uint32_t> chosen(const std::vector<Segment>& rows, const AgingNeed& need) {
  std::set<uint32_t> out;
  for (const Generation g : choose_oldest(rows, need)) out.insert(raw(g));
  return out;
}

TEST(Aging, TheOldestGoFirstUntilThereIsRoom) {
  const std::vector<Segment> rows{segment(1, 50, 300), segment(2, 50, 100), segment(3, 50, 200)};
  EXPECT_EQ(chosen(rows, {.over = 60, .room = 1000}), (std::set<uint32_t>{2, 3}));
  EXPECT_EQ(chosen(rows, {.over = 0, .room = 1000}), (std::set<uint32_t>{}));
}

TEST(Aging, WhatIsIdleGoesHoweverMuchRoomThereIs) {
  const std::vector<Segment> rows{segment(1, 50, 300), segment(2, 50, 100), segment(3, 50, 200)};
  EXPECT_EQ(chosen(rows, {.idle_before = 200, .room = 1000}), (std::set<uint32_t>{2, 3}));
}

TEST(Aging, WhatIsReadAgainGetsASecondChance) {
  const std::vector<Segment> rows{segment(1, 40, 300), segment(2, 40, 100, 30),
                                  segment(3, 40, 200)};
  EXPECT_EQ(chosen(rows, {.over = 40, .room = 1000}), (std::set<uint32_t>{3}));
  EXPECT_EQ(chosen(rows, {.idle_before = 250, .room = 1000}), (std::set<uint32_t>{3}));
  EXPECT_EQ(chosen(rows, {.over = 120, .room = 1000}), (std::set<uint32_t>{1, 2, 3}));
}

TEST(Aging, WhatOnlySnapshotsHoldGoesFirstOfAll) {
  std::vector<Segment> rows{segment(1, 40, 300, 40), segment(2, 40, 100), segment(3, 40, 200)};
  rows[0].of_snapshots = 20;
  rows[2].of_snapshots = 19;  // most of it is somebody's
  EXPECT_EQ(chosen(rows, {.over = 40, .room = 1000}), (std::set<uint32_t>{1}));
  EXPECT_EQ(chosen(rows, {.over = 80, .room = 1000}), (std::set<uint32_t>{1, 2}));
}

TEST(Aging, TheNextTierIsNotFilledBeyondItsRoom) {
  const std::vector<Segment> rows{segment(1, 50, 300), segment(2, 50, 100), segment(3, 50, 200)};
  EXPECT_EQ(chosen(rows, {.over = 1000, .room = 99}), (std::set<uint32_t>{2}));
  EXPECT_EQ(chosen(rows, {.over = 1000, .room = 10}), (std::set<uint32_t>{2}));
  EXPECT_EQ(chosen(rows, {.over = 1000, .room = 0}), (std::set<uint32_t>{}));
}

TEST(WrittenTimes, SayNothingIsOlderThanItIs) {
  WrittenTimes times;
  for (uint64_t i = 1; i <= 2000; ++i) times.note(10 * i, 1000 * i);
  EXPECT_EQ(times.by(500), 0u);
  EXPECT_EQ(times.by(2'000'000), 20'000u);
  for (uint64_t wall = 1000; wall < 2'000'000; wall += 777)
    EXPECT_LE(times.by(wall), wall / 1000 * 10);
  EXPECT_GT(times.by(1'990'000), 18'000u);
}

TEST(WrittenTimes, AClockThatIsSetBackMakesNothingOlder) {
  WrittenTimes times;
  times.note(10, 5000);
  times.note(20, 3000);
  EXPECT_EQ(times.by(4000), 0u);
  EXPECT_EQ(times.by(5000), 20u);
}

// D5, D9: a tier below the first keeps what its own cleaning needs from what ages into it.
TEST(Claims, ATierBelowTheFirstKeepsItsOwnCleaningAble) {
  const TierSize below{.first = false, .segments = 200, .segment_blocks = 64, .data_blocks = 12000};
  EXPECT_EQ(set_aside_above(Claim::mover, below, gib), 0u);
  EXPECT_GT(set_aside_above(Claim::user, below, gib), kept_for_last_batches);
  EXPECT_LT(capacity_blocks(below, 0), below.data_blocks);
}

// Promise 4: whatever batches have come to nothing, one that fills a segment can begin where users
// wait, and twice.
TEST(Claims, BatchesThatGainedNothingLeaveRoomForOneThatDoes) {
  uint64_t available =
      set_aside_above(Claim::log, {.first = true, .segments = 255, .segment_blocks = 1024}, 0) -
      set_aside_above(Claim::mover, {.first = true, .segments = 255, .segment_blocks = 1024}, 0);
  while (const uint64_t filled = most_targets(available, false)) available -= filled;
  EXPECT_EQ(available, kept_for_last_batches);
  EXPECT_EQ(most_targets(available, true), 1u);
  EXPECT_EQ(most_targets(available - 1, true), 1u);
}

// A pool of a journal blob and one of another kind.
class TieredPool : public PoolOnSimulatedDisk, public testing::WithParamInterface<BlobKind> {
 protected:
  static constexpr uint64_t device_bytes = 12 * mib;

  void SetUp() override {
    auto blobs = blobs_on(medium_, *executor_, true);
    add_fresh_blob(blobs, slow_, *executor_, "below", GetParam(), 1);
    auto made = wait(Pool::format(blobs, {}));
    ASSERT_TRUE(made) << made.error().message;
    open();
    auto created = wait(pool_->create("disk", device_bytes, {}));
    ASSERT_TRUE(created);
    device_ = created->id;
  }
  void open() {
    auto blobs = blobs_on(medium_, *executor_, false);
    blobs.push_back(blob_on(slow_, *executor_));
    ASSERT_TRUE(blobs.back());
    auto opened = wait(Pool::open(std::move(blobs), settings_));
    ASSERT_TRUE(opened) << opened.error().message;
    pool_ = std::move(*opened);
  }
  void remount() {
    ASSERT_TRUE(wait(pool_->close()));
    pool_.reset();
    open();
  }
  // Halves when it is compressed.
  std::vector<std::byte> content(uint64_t block, uint8_t version) {
    std::mt19937_64 random(block * 256 + version);
    std::vector<std::byte> data(block_size);
    for (size_t i = 0; i < block_size / 2; ++i) data[i] = static_cast<std::byte>(random());
    return data;
  }
  void put(uint64_t block, uint8_t version) {
    auto written = wait(pool_->write(device_, block * block_size, content(block, version)));
    ASSERT_TRUE(written) << written.error().message;
    versions_[block] = version;
  }
  void expect_all(DeviceId device, const std::map<uint64_t, uint8_t>& versions) {
    std::vector<std::byte> got(block_size);
    for (const auto& [block, version] : versions) {
      auto read = wait(pool_->read(device, block * block_size, got));
      ASSERT_TRUE(read) << block << ": " << read.error().message;
      ASSERT_EQ(got, content(block, version)) << block;
    }
  }
  static Task<Result<>> ask_aging(Pool& pool) { co_return pool.ask_aging(); }
  void age() {
    ASSERT_TRUE(wait(ask_aging(*pool_)));
    const uint64_t asked = pool_->status().aging_asked;
    while (pool_->status().aging_answered < asked)
      ASSERT_TRUE(executor_->run_until([]() -> Task<void> { co_await Sleep{1'000'000}; }()));
  }
  // Of virtual time.
  void sleep_until(const std::function<bool()>& so, int seconds = 60) {
    for (int i = 0; i < 100 * seconds && !so(); ++i)
      ASSERT_TRUE(executor_->run_until([]() -> Task<void> { co_await Sleep{10'000'000}; }()));
  }
  uint64_t blocks_in(const std::string& blob, DeviceId device, uint64_t first = 0,
                     uint64_t count = device_bytes / block_size) {
    uint64_t blocks = 0;
    BlobId id = BlobId::none;
    for (const BlobStatus& one : pool_->status().blobs)
      if (one.name == blob) id = one.id;
    auto ranges = wait(pool_->map(device, DeviceBlock{0}, device_bytes / block_size));
    EXPECT_TRUE(ranges);
    for (const MappedRange& range : *ranges) {
      if (range.state != RangeState::data || range.blob != id) continue;
      const uint64_t begin = std::max(range.range.begin.value, first);
      const uint64_t end = std::min(range.range.end.value, first + count);
      blocks += end > begin ? end - begin : 0;
    }
    return blocks;
  }
  // A block of payload below, or a byte of a frame.
  void damage_something() {
    std::vector<std::byte> found(block_size);
    const auto wanted = content(500, 1);
    int frames = 0;
    for (uint64_t at = mib; at < slow_.size() - mib; at += block_size) {
      slow_.read(at, found);
      if (found == wanted) {
        found[7] ^= std::byte{1};
        return slow_.damage(at, found);
      }
      for (size_t i = 0; i + 256 < block_size; i += frame_grain)
        if (std::memcmp(found.data() + i, frame_magic.data(), 4) == 0 && ++frames == 5) {
          found[i + 200] ^= std::byte{1};
          return slow_.damage(at, found);
        }
    }
    FAIL() << "nothing to damage";
  }
  uint64_t extents() { return pool_->info(device_)->extents; }

  SimMedium slow_{"slow", pool_bytes};
  Settings settings_;
  DeviceId device_ = DeviceId::none;
  std::map<uint64_t, uint8_t> versions_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, TieredPool,
                         testing::Values(BlobKind::transparent, BlobKind::compression),
                         [](const auto& kind) { return std::string(name_of(kind.param)); });

TEST_P(TieredPool, WhatWasWrittenAtRandomAgesIntoOrder) {
  std::vector<uint64_t> order(device_bytes / block_size);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937_64(7));
  for (const uint64_t block : order) put(block, 1);
  ASSERT_TRUE(wait(pool_->checkpoint()));
  const uint64_t before = extents();
  age();
  EXPECT_GT(before, 10 * extents());
  const PoolStatus status = pool_->status();
  EXPECT_NEAR(static_cast<double>(status.blobs[1].data_bytes), device_bytes, device_bytes / 50.0);
  EXPECT_GT(status.aged_bytes, device_bytes * 9 / 10);
  if (GetParam() == BlobKind::compression) {
    EXPECT_LT(status.blobs[1].used, device_bytes * 7 / 10);
    EXPECT_LT(status.used, device_bytes * 7 / 10);
    EXPECT_GT(status.blobs[1].saved_bytes, device_bytes * 4 / 10);
  }
  EXPECT_LT(status.blobs[0].used, 4 * mib);
  expect_all(device_, versions_);
  remount();
  expect_all(device_, versions_);
}

TEST_P(TieredPool, SnapshotsBeforeAndAfterAgingAreWhatTheyWere) {
  for (uint64_t block = 0; block < 800; ++block) put(block, 1);
  std::vector<Pool::Fork> forks;
  forks.push_back({device_, "before"});
  auto before = wait(pool_->fork(std::move(forks), true));
  ASSERT_TRUE(before);
  const auto old = versions_;
  for (uint64_t block = 0; block < 800; block += 3) put(block, 2);
  age();
  expect_all(before->front().id, old);
  expect_all(device_, versions_);
  for (uint64_t block = 0; block < 800; block += 5) put(block, 3);  // what has aged diverges
  age();
  remount();
  expect_all(before->front().id, old);
  expect_all(device_, versions_);
}

// What only a snapshot holds is newer here than what else could go. One that could be written to
// is one until somebody does.
class TieredPoolWithSnapshot : public TieredPool {
 protected:
  void hold_in_snapshot(bool read_only, bool written);
  DeviceId snapshot_ = DeviceId::none;
};
INSTANTIATE_TEST_SUITE_P(Kinds, TieredPoolWithSnapshot, testing::Values(BlobKind::transparent));

void TieredPoolWithSnapshot::hold_in_snapshot(bool read_only, bool written) {
  settings_.aging["journal"] = {.keep_free_percent = 0, .idle_ns = 3'600'000'000'000};
  remount();
  auto held = wait(pool_->create("held", device_bytes, {}));
  ASSERT_TRUE(held);
  for (uint64_t block = 0; block < 700; ++block) put(block, 1);
  for (uint64_t block = 0; block < 700; ++block)
    ASSERT_TRUE(wait(pool_->write(held->id, block * block_size, content(block, 2))));
  std::vector<Pool::Fork> forks;
  forks.push_back({held->id, "snapshot"});
  auto snapshot = wait(pool_->fork(std::move(forks), read_only));
  ASSERT_TRUE(snapshot);
  snapshot_ = snapshot->front().id;
  if (written) {
    ASSERT_TRUE(wait(pool_->write(snapshot_, 900 * block_size, content(900, 3))));
  }
  ASSERT_TRUE(wait(pool_->erase(held->id, 0, 700 * block_size)));
  ASSERT_TRUE(wait(pool_->count_shares()));
  // Some 500 blocks are too many, so far.
  settings_.aging["journal"].keep_free_percent = 90;
  remount();
  ASSERT_TRUE(wait(pool_->count_shares()));
  sleep_until(
      [&] { return pool_->status().aged_bytes > 0 && pool_->status().mover_state == "idle"; });
  ASSERT_TRUE(wait(pool_->checkpoint()));
  expect_all(device_, versions_);
}

TEST_P(TieredPoolWithSnapshot, WhatItAloneHoldsAgesBeforeOlderData) {
  hold_in_snapshot(true, false);
  EXPECT_GT(blocks_in("below", snapshot_), 400u);
  EXPECT_LT(blocks_in("below", device_), 100u);
}

TEST_P(TieredPoolWithSnapshot, OneThatNobodyHasWrittenToIsOneAsWell) {
  hold_in_snapshot(false, false);
  EXPECT_GT(blocks_in("below", snapshot_), 400u);
  EXPECT_LT(blocks_in("below", device_), 100u);
}

TEST_P(TieredPoolWithSnapshot, OneThatIsWrittenToIsADeviceLikeAnyOther) {
  hold_in_snapshot(false, true);
  EXPECT_LT(blocks_in("below", snapshot_), 100u);
  EXPECT_GT(blocks_in("below", device_), 400u);
}

// Off, it is as if nobody read; on, what is read often comes up, stays when other data ages, and
// goes down again when nobody reads it any more.
TEST_P(TieredPool, WhatIsReadOftenComesUpWherePromotionIsOn) {
  settings_.aging["journal"] = {.keep_free_percent = 20, .idle_ns = 1'000'000'000};
  for (const bool on : {false, true}) {
    settings_.promote = on;
    remount();
    for (uint64_t block = 0; block < 1000; ++block) put(block, 1);
    age();
    ASSERT_EQ(blocks_in("journal", device_, 100, 800), 0u);
    std::vector<std::byte> got(32 * block_size);
    for (int times = 0; times < 3; ++times)
      ASSERT_TRUE(wait(pool_->read(device_, 320 * block_size, got)));
    sleep_until([&] { return pool_->status().promoted_bytes > 0; }, on ? 60 : 3);
    ASSERT_TRUE(wait(pool_->checkpoint()));
    EXPECT_EQ(pool_->status().promoted_bytes, on ? got.size() : 0);
    EXPECT_EQ(blocks_in("journal", device_, 100, 800), on ? 32u : 0u);
  }
  // As idle as all else, but it was read of late.
  const auto others_age = [&](uint8_t version) {
    for (uint64_t block = 500; block < 700; ++block) put(block, version);
    ASSERT_TRUE(wait(pool_->checkpoint()));
    sleep_until([&] { return blocks_in("journal", device_, 500, 200) < 100; });
    ASSERT_LT(blocks_in("journal", device_, 500, 200), 100u);
  };
  others_age(2);
  EXPECT_EQ(blocks_in("journal", device_, 320, 32), 32u);
  expect_all(device_, versions_);
  for (uint8_t version = 3; version < 10; ++version) others_age(version);
  EXPECT_EQ(blocks_in("journal", device_, 320, 32), 0u);
  expect_all(device_, versions_);
}

TEST_P(TieredPool, APinHoldsWhatIsReadOftenWhereItIs) {
  settings_.aging["journal"] = {.keep_free_percent = 20, .idle_ns = 1'000'000'000};
  settings_.promote = true;
  remount();
  for (uint64_t block = 0; block < 400; ++block) put(block, 1);
  ASSERT_TRUE(wait(pool_->pin(device_, "below")));
  age();
  std::vector<std::byte> got(64 * block_size);
  for (int times = 0; times < 3; ++times)
    ASSERT_TRUE(wait(pool_->read(device_, 128 * block_size, got)));
  sleep_until([] { return false; }, 3);
  EXPECT_EQ(pool_->status().promoted_bytes, 0u);
  EXPECT_EQ(blocks_in("journal", device_, 128, 64), 0u);
}

TEST_P(TieredPool, ACrashInTheMidstOfAgingLosesNothing) {
  for (uint64_t block = 0; block < 1500; ++block) put(block, 1);
  ASSERT_TRUE(wait(pool_->flush(device_)));
  for (const uint64_t steps : {20, 60, 150, 300, 600}) {
    ASSERT_TRUE(wait(ask_aging(*pool_)));
    executor_->crash_after(steps);
    const bool survived =
        executor_->run_until([]() -> Task<void> { co_await Sleep{10'000'000'000}; }());
    if (survived) {
      executor_->crash_after(1'000'000);  // it was for the aging
      ASSERT_TRUE(wait(pool_->close()));
    }
    pool_.reset();
    medium_.power_cut(executor_->random());
    slow_.power_cut(executor_->random());
    executor_ = std::make_unique<SimExecutor>(steps);
    open();
    expect_all(device_, versions_);
  }
}

// B6: EIO for what was damaged, a block, or a frame where it is compressed; listed, the rest
// served.
TEST_P(TieredPool, DamageBelowCostsABlockOrAFrame) {
  for (uint64_t block = 0; block < 1000; ++block) put(block, 1);
  age();
  remount();
  damage_something();
  const size_t most = GetParam() == BlobKind::compression ? frame_blocks : 1;
  std::vector<std::byte> got(block_size);
  size_t lost = 0;
  for (const auto& [block, version] : versions_) {
    auto read = wait(pool_->read(device_, block * block_size, got));
    if (!read) {
      EXPECT_EQ(read.error().code, Code::io);
      ++lost;
    } else {
      ASSERT_EQ(got, content(block, version)) << block;
    }
  }
  EXPECT_GE(lost, 1u);
  EXPECT_LE(lost, most);
  EXPECT_EQ(pool_->lost().size(), lost);
  age();  // nor does moving make anything of it
  EXPECT_TRUE(wait(pool_->checkpoint()));
}

// B4: frames say themselves where they lie.
TEST_P(TieredPool, ADamagedFrameIndexCostsNothing) {
  for (uint64_t block = 0; block < 1000; ++block) put(block, 1);
  age();
  remount();
  if (GetParam() != BlobKind::compression) return;
  const std::vector<std::byte> bad(block_size, std::byte{0x17});
  const uint64_t segment = pool_->status().blobs[1].segment_bytes;
  for (uint64_t at = mib; at + segment <= slow_.size() - mib; at += segment)
    slow_.damage(at + block_size, bad);
  expect_all(device_, versions_);
  EXPECT_TRUE(pool_->lost().empty());
}

// B4: the summary at the other end serves.
TEST_P(TieredPool, ADamagedSummaryBelowKeepsNobodyFromMovingOn) {
  for (uint64_t block = 0; block < 1000; ++block) put(block, 1);
  age();
  std::vector<std::byte> last(block_size, std::byte{0x5a});
  const uint64_t segment = pool_->status().blobs[1].segment_bytes;
  for (uint64_t at = mib; at + segment <= slow_.size() - mib; at += segment)
    slow_.damage(at + segment - block_size, last);  // where back summaries have their headers
  for (uint64_t block = 0; block < 1000; block += 2) put(block, 2);
  age();
  remount();
  expect_all(device_, versions_);
}

// Promise 4, D2: leaves that a checkpoint makes of others while their data is copied follow it,
// with their zeroes and aliases. Else what is moved lies twice, and empties nothing.
TEST_P(TieredPool, WhatLeavesAreMadeOfMeanwhileFollows) {
  constexpr uint64_t blocks = 800;
  auto other = wait(pool_->create("other", device_bytes, {}));
  ASSERT_TRUE(other);
  for (uint64_t block = 0; block < blocks; block += 2) put(block, 1);
  for (uint64_t block = 0; block < blocks; block += 64) {
    const uint64_t at = block * block_size;
    ASSERT_TRUE(wait(pool_->copy(device_, at, other->id, at, block_size)));
    ASSERT_TRUE(wait(pool_->erase(device_, at, block_size)));
    versions_.erase(block);
  }
  ASSERT_TRUE(wait(pool_->checkpoint()));
  ASSERT_TRUE(wait(ask_aging(*pool_)));
  const auto step = []() -> Task<void> { co_await Sleep{10'000}; };
  while (pool_->status().mover_state != "moving") ASSERT_TRUE(executor_->run_until(step()));
  std::vector<Pool::Fork> forks;
  forks.push_back({device_, "before"});
  forks.push_back({other->id, "other before"});
  ASSERT_TRUE(wait(pool_->fork(std::move(forks), true)));
  put(1, 2);
  ASSERT_TRUE(wait(pool_->write(other->id, block_size, content(1, 3))));
  ASSERT_TRUE(wait(pool_->checkpoint()));  // copies the leaves that the walk has listed
  ASSERT_EQ(pool_->status().mover_state, "moving") << "this was to come before it has ended";
  while (pool_->status().mover_state == "moving") ASSERT_TRUE(executor_->run_until(step()));
  ASSERT_TRUE(wait(pool_->count_shares()));  // another walk, before they are
  const uint64_t asked = pool_->status().aging_asked;
  while (pool_->status().aging_answered < asked) ASSERT_TRUE(executor_->run_until(step()));
  ASSERT_TRUE(wait(pool_->checkpoint()));
  ASSERT_TRUE(wait(pool_->count_shares()));
  std::set<Address> used;
  for (const DeviceInfo& device : pool_->list()) {
    auto ranges = wait(pool_->map(device.id, DeviceBlock{0}, 2 * blocks));
    ASSERT_TRUE(ranges);
    for (const MappedRange& range : *ranges) {
      if (range.state != RangeState::data) continue;
      for (uint64_t i = 0; i < range.range.length().value; ++i)
        used.insert(range.address + BlockCount{i});
    }
  }
  EXPECT_EQ(used.size(), blocks / 2 + 2);  // each once
  EXPECT_EQ(pool_->status().data_bytes, used.size() * block_size);
  expect_all(device_, versions_);
  remount();
  expect_all(device_, versions_);
}

TEST_P(TieredPool, APlaceBelowNamesWhoseDataItIs) {
  for (uint64_t block = 0; block < 600; ++block) put(block, 1);
  age();
  std::set<uint64_t> seen;
  const PoolStatus status = pool_->status();
  for (uint64_t at = mib; at < slow_.size() / 4; at += block_size) {
    auto place = wait(pool_->reverse("below", at));
    ASSERT_TRUE(place) << place.error().message;
    if (place->what != "data") continue;
    EXPECT_EQ(place->frames > 0, GetParam() == BlobKind::compression);
    for (const auto& user : place->users) {
      EXPECT_EQ(user.name, "disk");
      for (DeviceBlock b = user.range.begin; b < user.range.end; b = b + BlockCount{1})
        seen.insert(b.value);
    }
  }
  EXPECT_EQ(seen.size() * block_size, status.blobs[1].data_bytes);
}

// D9: what a pin says, and what it does not.
TEST_P(TieredPool, WhatIsPinnedStaysAndIsBroughtBack) {
  auto other = wait(pool_->create("other", device_bytes, {}));
  ASSERT_TRUE(other);
  for (uint64_t block = 0; block < 1500; ++block) {
    put(block, 1);
    if (block % 2 == 0) {
      ASSERT_TRUE(wait(pool_->write(other->id, block * block_size, content(block, 9))));
    }
  }
  const std::string fast = pool_->status().blobs[0].name;
  ASSERT_TRUE(wait(pool_->pin(device_, fast)));
  age();
  PoolStatus status = pool_->status();
  EXPECT_GT(status.blobs[0].data_bytes, 1400 * block_size);
  EXPECT_GT(status.blobs[1].data_bytes, 650 * block_size);
  EXPECT_LT(status.blobs[1].data_bytes, 850 * block_size);
  // Down, however young.
  ASSERT_TRUE(wait(pool_->pin(device_, "below")));
  for (int i = 0; i < 3000 && pool_->status().blobs[0].data_bytes > 200 * block_size; ++i)
    ASSERT_TRUE(executor_->run_until([]() -> Task<void> { co_await Sleep{1'000'000}; }()));
  EXPECT_LE(pool_->status().blobs[0].data_bytes, 200 * block_size);
  expect_all(device_, versions_);
  // And up again.
  ASSERT_TRUE(wait(pool_->pin(device_, fast)));
  remount();
  EXPECT_EQ(pool_->info(device_)->pin, fast);
  age();
  status = pool_->status();
  EXPECT_GT(status.blobs[0].data_bytes, 1400 * block_size);
  expect_all(device_, versions_);
  ASSERT_TRUE(wait(pool_->pin(device_, "")));
  age();
  EXPECT_LT(pool_->status().blobs[0].data_bytes, 200 * block_size);
  expect_all(device_, versions_);
}

TEST_P(TieredPool, AClonePinsAsItsSourceDoesAndASnapshotDoesNot) {
  EXPECT_EQ(wait(pool_->pin(device_, "nowhere")).error().code, Code::invalid);
  ASSERT_TRUE(wait(pool_->pin(device_, "below")));
  for (const bool read_only : {false, true}) {
    std::vector<Pool::Fork> forks;
    forks.push_back({device_, read_only ? "snapshot" : "clone"});
    auto made = wait(pool_->fork(std::move(forks), read_only));
    ASSERT_TRUE(made);
    EXPECT_EQ(pool_->info(made->front().id)->pin, read_only ? "" : "below");
  }
  EXPECT_TRUE(pool_->list_xattrs(device_).empty());
}

// Nobody is refused because of a pin.
TEST_P(TieredPool, ATierThatIsFullOfPinnedDataAgesAllTheSame) {
  auto big = wait(pool_->create("big", 90 * mib, {}));
  ASSERT_TRUE(big);
  ASSERT_TRUE(wait(pool_->pin(big->id, pool_->status().blobs[0].name)));
  const auto data = pattern(mib, 3);
  for (uint64_t at = 0; at < 55 * mib; at += mib) {
    auto written = wait(pool_->write(big->id, at, data));
    ASSERT_TRUE(written) << at / mib << ": " << written.error().message;
  }
  EXPECT_GT(pool_->status().blobs[1].data_bytes, mib);
  expect_content(big->id, 20 * mib, data);
}

// What there is too little of for a checkpoint is idle all the same.
TEST_P(TieredPool, WhatIsIdleAgesAlthoughNobodyWritesOn) {
  settings_.aging["journal"] = {.keep_free_percent = 0, .idle_ns = 2'000'000'000};
  remount();
  for (uint64_t block = 0; block < 200; ++block) put(block, 1);
  ASSERT_TRUE(wait(pool_->sync()));
  ASSERT_EQ(blocks_in("below", device_), 0u);
  sleep_until([&] { return blocks_in("below", device_) > 100; }, 10);
  EXPECT_GT(blocks_in("below", device_), 100u);
  expect_all(device_, versions_);
}

// What was copied below is there with the next checkpoint, which nobody else need make.
TEST_P(TieredPool, WhatHasAgedIsThereAlthoughNobodyWritesOn) {
  settings_.aging["journal"] = {.keep_free_percent = 95, .idle_ns = 3'600'000'000'000};
  remount();
  for (uint64_t block = 0; block < 2500; ++block) put(block, 1);
  ASSERT_TRUE(wait(pool_->checkpoint()));
  sleep_until([&] { return blocks_in("below", device_) > 1000; }, 60);
  EXPECT_GT(blocks_in("below", device_), 1000u);
  expect_all(device_, versions_);
}

TEST_P(TieredPool, APoolOfOneTierOnlyHasNothingToAgeTo) {
  SimExecutor executor(3);
  SimMedium alone("alone", pool_bytes);
  auto blobs = blobs_on(alone, executor, true);
  Result<> made;
  ASSERT_TRUE(executor.run_until(Pool::format(blobs, {}), made));
  blobs = blobs_on(alone, executor, false);
  Result<std::unique_ptr<Pool>> pool;
  ASSERT_TRUE(executor.run_until(Pool::open(std::move(blobs), {}), pool));
  EXPECT_EQ((*pool)->ask_aging().error().code, Code::unsupported);
  Result<> closed;
  ASSERT_TRUE(executor.run_until((*pool)->close(), closed));
}

}  // namespace
}  // namespace lamina
