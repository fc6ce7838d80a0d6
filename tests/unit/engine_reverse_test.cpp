// SPDX-License-Identifier: Apache-2.0
// From a place on the medium back to whose data it is.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "engine_pool_fixture.h"

namespace lamina {
namespace {

class PoolSeenFromItsMedium : public PoolOnSimulatedDisk {
 protected:
  void SetUp() override {
    PoolOnSimulatedDisk::SetUp();
    auto made = wait(pool_->create("disk", 8 * mib, {}));
    ASSERT_TRUE(made);
    disk_id_ = made->id;
  }
  std::vector<std::byte> content(uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<std::byte> data(block_size);
    for (std::byte& byte : data) byte = static_cast<std::byte>(random());
    return data;
  }
  void put(uint64_t block, uint64_t seed) {
    ASSERT_TRUE(wait(pool_->write(disk_id_, block * block_size, content(seed))));
  }
  uint64_t find(uint64_t seed) {
    std::vector<std::byte> block(block_size);
    const auto wanted = content(seed);
    for (uint64_t at = 0; at < medium_.size(); at += block_size) {
      medium_.read(at, block);
      if (block == wanted) return at;
    }
    ADD_FAILURE() << "it is not on the medium";
    return 0;
  }
  MediumPlace look(uint64_t offset) {
    auto place = wait(pool_->reverse("journal", offset));
    EXPECT_TRUE(place) << place.error().message;
    return place ? *place : MediumPlace{};
  }
  // "disk@7 snapshot@7"
  static std::string users(const MediumPlace& place) {
    std::string all;
    for (const auto& user : place.users)
      all += (all.empty() ? "" : " ") + user.name + "@" + std::to_string(user.range.begin.value);
    return all;
  }

  DeviceId disk_id_ = DeviceId::none;
};

TEST_F(PoolSeenFromItsMedium, DataNamesAllWhoHaveIt) {
  for (uint64_t block = 0; block < 100; ++block) put(block, block);
  std::vector<Pool::Fork> forks;
  forks.push_back({disk_id_, "snapshot"});
  auto snapshot = wait(pool_->fork(std::move(forks), true));
  ASSERT_TRUE(snapshot);
  ASSERT_TRUE(wait(pool_->sync()));
  const uint64_t seven = find(7), eight = find(8);
  EXPECT_EQ(look(seven + 5).what, "data");
  EXPECT_EQ(users(look(seven)), "disk@7 snapshot@7");
  EXPECT_TRUE(look(seven).users[1].read_only);
  put(7, 1000);
  EXPECT_EQ(users(look(seven)), "snapshot@7");
  auto copied = wait(pool_->copy(disk_id_, 8 * block_size, disk_id_, 500 * block_size, block_size));
  ASSERT_TRUE(copied) << copied.error().message;
  const MediumPlace shared = look(eight);
  EXPECT_EQ(users(shared), "disk@8 disk@500 snapshot@8");
  EXPECT_TRUE(shared.users[1].alias);
  EXPECT_FALSE(shared.users[0].alias);
}

TEST_F(PoolSeenFromItsMedium, WhatNobodyHasAnyMoreIsGarbage) {
  put(3, 3);
  ASSERT_TRUE(wait(pool_->sync()));
  const uint64_t at = find(3);
  put(3, 4);
  EXPECT_EQ(look(at).what, "garbage");
}

TEST_F(PoolSeenFromItsMedium, MetadataIsNamed) {
  for (uint64_t block = 0; block < 1000; ++block) put((block * 37) % 2000, block);
  ASSERT_TRUE(wait(pool_->sync()));
  std::map<std::string, std::vector<MediumPlace>> found;
  for (uint64_t at = 0; at < 8 * mib; at += block_size) {
    const MediumPlace place = look(at);
    found[place.what].push_back(place);
  }
  EXPECT_EQ(found["superblock"].size(), 2u);
  EXPECT_EQ(found["checkpoint slot"].size(), slot_ring_length);
  for (const char* what : {"segment header", "checksums", "summary", "record", "node",
                           "checkpoint tables", "data", "free", "outside of segments"})
    EXPECT_FALSE(found[what].empty()) << what;
  for (const MediumPlace& node : found["node"]) EXPECT_EQ(users(node).substr(0, 5), "disk@");
  EXPECT_EQ(look(medium_.size() - 1).what, "superblock");
}

TEST_F(PoolSeenFromItsMedium, WhatThereIsNotIsRefused) {
  EXPECT_EQ(wait(pool_->reverse("none", 0)).error().code, Code::not_found);
  EXPECT_EQ(wait(pool_->reverse("journal", medium_.size())).error().code, Code::invalid);
}

}  // namespace
}  // namespace lamina
