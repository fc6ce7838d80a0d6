// SPDX-License-Identifier: Apache-2.0
// C4: zeroes go when they hide nothing any more, and not before.
#include <gtest/gtest.h>

#include <algorithm>
#include <span>

#include "blobs/segment.h"
#include "engine/rebuild.h"
#include "engine_pool_fixture.h"

namespace lamina {
namespace {

class Zeroes : public PoolOnSimulatedDisk {
 protected:
  static constexpr uint64_t device_bytes = 8 * mib;

  void SetUp() override {
    PoolOnSimulatedDisk::SetUp();
    device_ = create("vm1");
    other_ = create("vm2");
  }
  DeviceId create(const std::string& name) {
    const auto made = wait(pool_->create(name, device_bytes, {}));
    EXPECT_TRUE(made);
    return made->id;
  }
  void write(DeviceId id, uint64_t block, uint64_t blocks, uint8_t seed) {
    ASSERT_TRUE(wait(pool_->write(id, block * block_size, pattern(blocks * block_size, seed))));
  }
  void erase(DeviceId id, uint64_t block, uint64_t blocks) {
    ASSERT_TRUE(wait(pool_->erase(id, block * block_size, blocks * block_size)));
  }
  DeviceId fork(const std::string& name) {
    std::vector<Pool::Fork> forks;
    forks.push_back({device_, name});
    EXPECT_TRUE(wait(pool_->fork(std::move(forks), true)));
    const auto found = pool_->find(name);
    EXPECT_TRUE(found);
    return found->id;
  }
  // What is dead by now is stamped and free.
  void churn() {
    for (uint8_t round = 0; round < 12; ++round) {
      write(other_, 0, 512, round);
      ASSERT_TRUE(wait(pool_->checkpoint()));
    }
  }
  // By a scrub; how many.
  uint64_t let_go() {
    const uint64_t before = pool_->status().scrub.zeroes_dropped;
    scrub();
    return pool_->status().scrub.zeroes_dropped - before;
  }
  // By the pool, and by what its segments say alone.
  void expect_zeroes(DeviceId id, uint64_t block, uint64_t blocks) {
    expect_content(id, block * block_size, std::vector<std::byte>(blocks * block_size));
    ASSERT_TRUE(wait(pool_->close()));
    pool_.reset();
    {
      const auto members = blobs_on(medium_, *executor_, false);
      Result<Rebuilt> rebuilt = fail(Code::io);
      ASSERT_TRUE(executor_->run_until(Rebuilt::from({members[0].get()}), rebuilt));
      ASSERT_TRUE(rebuilt) << rebuilt.error().message;
      Buffer one(block_size);
      for (uint64_t at = block; at < block + blocks; ++at) {
        ASSERT_TRUE(wait(rebuilt->read(rebuilt->devices().at(id), DeviceBlock{at}, one.span())));
        ASSERT_TRUE(all_zero(one.span())) << "block " << at;
      }
    }
    open();
    expect_content(id, block * block_size, std::vector<std::byte>(blocks * block_size));
  }

  // The segment on the medium that begins with that, or has it.
  struct Place {
    uint64_t begin = 0, bytes = 0;
  };
  Place place_of(const std::vector<std::byte>& content) {
    const std::span<const std::byte> wanted = std::span(content).first(block_size);
    std::vector<std::byte> found(block_size);
    const auto blob = blob_on(medium_, *executor_);
    for (uint32_t index = 0; index < blob->segment_count(); ++index)
      for (uint32_t block = 0; block < blob->segment_blocks(); ++block) {
        medium_.read(blob->offset(index, block), found);
        if (std::ranges::equal(found, wanted)) return {blob->offset(index, 0), blob->segment_bytes()};
      }
    ADD_FAILURE() << "it is not on the medium";
    return {};
  }
  bool is_free(const Place& place) {
    std::vector<std::byte> block(block_size);
    medium_.read(place.begin, block);
    const auto header = unpack_segment_header(block);
    return !header || header->state == SegmentState::retired;
  }

  DeviceId device_ = DeviceId::none, other_ = DeviceId::none;
};

TEST_F(Zeroes, OverWhatIsGoneGo) {
  write(device_, 0, 512, 1);
  churn();
  erase(device_, 0, 512);
  churn();
  EXPECT_EQ(let_go(), 1u);
  expect_zeroes(device_, 0, 512);
  EXPECT_EQ(let_go(), 0u);
  write(device_, 3, 1, 2);
  erase(device_, 0, 512);
  expect_zeroes(device_, 0, 512);
}

// The counter-example of the rule.
TEST_F(Zeroes, OverWhatASnapshotHasStay) {
  write(device_, 0, 16, 1);
  const DeviceId snapshot = fork("snapshot");
  churn();  // so that the zero is stated in another segment
  erase(device_, 0, 16);
  churn();
  EXPECT_EQ(let_go(), 0u);
  expect_zeroes(device_, 0, 16);
  expect_content(snapshot, 0, pattern(16 * block_size, 1));
  ASSERT_TRUE(wait(pool_->remove("snapshot")));
  churn();
  ASSERT_TRUE(wait(pool_->count_shares()));
  churn();
  EXPECT_EQ(let_go(), 1u);
  expect_zeroes(device_, 0, 16);
}

// It is dead, but what lies beside it is not, so that its segment has no stamp.
TEST_F(Zeroes, OverWhatIsDeadAndStillThereStay) {
  write(device_, 0, 16, 1);
  write(device_, 1000, 1, 9);
  churn();
  erase(device_, 0, 16);
  churn();
  EXPECT_EQ(let_go(), 0u);
  expect_zeroes(device_, 0, 16);
}

// In leaves that several maps have, and until nothing is left in them.
TEST_F(Zeroes, GoFromAllWhoHaveThem) {
  for (uint64_t block = 0; block < 2000; block += 2) write(device_, block, 1, 1);
  churn();
  for (uint64_t block = 0; block < 2000; block += 2) erase(device_, block, 1);
  ASSERT_TRUE(wait(pool_->checkpoint()));
  const DeviceId snapshot = fork("snapshot");
  churn();
  churn();
  EXPECT_EQ(let_go(), 1000u);
  expect_zeroes(device_, 0, 2000);
  expect_zeroes(snapshot, 0, 2000);
  write(device_, 77, 1, 5);
  ASSERT_TRUE(wait(pool_->checkpoint()));
  expect_content(device_, 77 * block_size, pattern(block_size, 5));
  expect_zeroes(device_, 78, 100);
  EXPECT_EQ(let_go(), 0u);
}

// What has come over it since is what counts.
TEST_F(Zeroes, OfALaterEraseHideWhatWasWrittenBetween) {
  write(device_, 0, 16, 1);
  erase(device_, 0, 16);
  churn();
  write(device_, 0, 16, 2);
  write(device_, 1000, 1, 9);
  churn();
  erase(device_, 0, 16);
  churn();
  EXPECT_EQ(let_go(), 0u);
  expect_zeroes(device_, 0, 16);
}

// What cannot be read may have said of something older.
TEST_F(Zeroes, StayWhereASegmentDoesNotTell) {
  write(device_, 0, 512, 1);
  churn();
  erase(device_, 0, 512);
  churn();
  write(other_, 1000, 1, 77);
  churn();
  const Place place = place_of(pattern(block_size, 77));
  medium_.damage(place.begin, std::vector<std::byte>(place.bytes, std::byte{0x5a}));
  EXPECT_EQ(let_go(), 0u);
}

// As a crash leaves it that loses the first block of what the mover wrote, or damage to a stamp over
// what a discard has left: no table knows it, and no recovery finds it, but a rebuild would.
TEST_F(Zeroes, OverWhatLiesWhereNothingIsInUseStay) {
  write(device_, 0, 512, 1);
  write(device_, 300, 1, 200);
  ASSERT_TRUE(wait(pool_->checkpoint()));
  const Place place = place_of(pattern(block_size, 200));
  std::vector<std::byte> copy(place.bytes);
  churn();
  medium_.read(place.begin, copy);
  erase(device_, 0, 512);
  churn();
  for (uint64_t i = 0; i < 400 && !is_free(place); ++i) {
    write(other_, 0, 16 + i % 128, 1);
    ASSERT_TRUE(wait(pool_->checkpoint()));
  }
  ASSERT_TRUE(is_free(place));
  std::fill_n(copy.begin(), block_size, std::byte{0});
  medium_.damage(place.begin, copy);
  EXPECT_EQ(let_go(), 0u);
  expect_zeroes(device_, 0, 512);
}

}  // namespace
}  // namespace lamina
