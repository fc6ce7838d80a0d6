// SPDX-License-Identifier: Apache-2.0
// Leaves of maps that have no room for what the mover has moved, and are several maps'.
#include <gtest/gtest.h>

#include "engine_pool_of_disks.h"

namespace lamina {
namespace {

// Every second block lies on blob "one", what is between them in the journal, which was written
// right after. So one leaf names many blocks by addresses that are close to each other. Those that
// "one" is emptied into get generations that are far from all of these.
class WithFullLeaves : public PoolOfDisks {
 protected:
  static constexpr uint64_t blocks = 6000;
  void make_full_leaves() {
    make({{"one", BlobKind::transparent, 1}});
    auto created = wait(pool_->create("full", gib, {}));
    ASSERT_TRUE(created);
    full_ = created->id;
    every_second(0);
    age();
    every_second(1);
    ASSERT_TRUE(wait(pool_->checkpoint()));
  }
  void every_second(uint64_t first) {
    for (uint64_t block = first; block < blocks; block += 2)
      ASSERT_TRUE(wait(pool_->write(full_, block * block_size, data(block))));
    ASSERT_TRUE(wait(pool_->sync()));
  }
  std::vector<std::byte> data(uint64_t block) {
    std::vector<std::byte> one(block_size, std::byte{1});
    std::memcpy(one.data(), &block, sizeof block);
    return one;
  }
  DeviceId fork(const char* name) {
    std::vector<Pool::Fork> forks{{full_, name}};
    auto forked = wait(pool_->fork(std::move(forks), false));
    EXPECT_TRUE(forked);
    return forked ? forked->front().id : DeviceId::none;
  }
  void write_one(DeviceId device, uint64_t block, uint64_t what) {
    ASSERT_TRUE(wait(pool_->write(device, block * block_size, data(what))));
  }
  void expect_all(DeviceId device, uint64_t changed, uint64_t to) {
    std::vector<std::byte> got(block_size);
    for (uint64_t block = 0; block < blocks; ++block) {
      auto read = wait(pool_->read(device, block * block_size, got));
      ASSERT_TRUE(read) << read.error().message;
      ASSERT_EQ(got, data(block == changed ? to : block)) << block;
    }
  }
  // Each life's generations begin past all that the one before could have given out (A3).
  void live_often() {
    for (int life = 0; life < 40; ++life) {
      cut_power();
      open();
    }
  }

  DeviceId full_ = DeviceId::none;
};

TEST_F(WithFullLeaves, NeverKeepABlobFromLeaving) {
  make_full_leaves();
  // Two that have one tree, with nothing between; one with another tree and the same leaves; one
  // that has written to a leaf.
  const DeviceId same = fork("same"), other = fork("other"), own = fork("own");
  write_one(other, 200'000, 3);
  write_one(own, 1000, 4);
  ASSERT_TRUE(wait(pool_->checkpoint()));
  live_often();
  ASSERT_TRUE(add("two", BlobKind::transparent, 1));
  const auto gone = evacuate("one");
  ASSERT_TRUE(gone) << gone.error().message;
  ASSERT_TRUE(wait(pool_->remove_blob("one")));
  for (int life = 0; life < 2; ++life) {
    for (const DeviceId device : {full_, same, other}) expect_all(device, UINT64_MAX, 0);
    expect_all(own, 1000, 4);
    cut_power();
    open();
  }
  // Whose nodes they are now, each finds out by writing (F1).
  write_one(same, 2001, 5);
  write_one(full_, 2001, 6);
  ASSERT_TRUE(wait(pool_->checkpoint()));
  expect_all(same, 2001, 5);
  expect_all(full_, 2001, 6);
  expect_all(other, UINT64_MAX, 0);
}

}  // namespace
}  // namespace lamina
