// SPDX-License-Identifier: Apache-2.0
// A pool without one of its disks (A13).
#include <gtest/gtest.h>

#include <algorithm>

#include "engine_pool_of_disks.h"

namespace lamina {
namespace {

using WithoutADisk = PoolOfDisks;

// A13: by force what is on the other members is served; when the disk is back it all is.
TEST_F(WithoutADisk, WithoutAMemberTheRestIsServedByForce) {
  make({{"bulk", BlobKind::transparent, 1}});
  age();
  const auto newer = pattern(mib, 9);
  write(0, newer);
  close();
  away_ = true;
  EXPECT_EQ(error_of(try_open()), Code::not_found);
  force_ = true;
  open();
  EXPECT_TRUE(blob("bulk").health.starts_with("missing")) << blob("bulk").health;
  expect_content(device_, 0, newer);
  std::vector<std::byte> got(block_size);
  EXPECT_FALSE(wait(pool_->read(device_, 8 * mib, got)));
  write(mib, newer);
  close();
  force_ = false;  // it has failed before: nobody is surprised
  open();
  expect_content(device_, mib, newer);
  close();
  away_ = false;
  open();
  std::copy(newer.begin(), newer.end(), content_.begin());
  std::copy(newer.begin(), newer.end(), content_.begin() + mib);
  expect_content(device_, 0, content_);
}

TEST_F(WithoutADisk, AMemberThatIsGoneForGoodIsRemovedWithWhatWasOnIt) {
  make({{"bulk", BlobKind::transparent, 1}});
  age();
  const auto newer = pattern(mib, 9);
  write(0, newer);
  close();
  media_.clear();
  force_ = true;
  open();
  EXPECT_EQ(error_of(wait(pool_->remove_blob("bulk"))), Code::busy);
  auto removed = wait(pool_->remove_blob("bulk", true));
  ASSERT_TRUE(removed) << removed.error().message;
  EXPECT_EQ(pool_->status().blobs.size(), 1u);
  close();
  force_ = false;
  open();
  expect_content(device_, 0, newer);
  std::vector<std::byte> got(block_size);
  EXPECT_FALSE(wait(pool_->read(device_, 8 * mib, got)));
  EXPECT_FALSE(pool_->lost().empty());
  auto ranges = wait(pool_->map(device_, DeviceBlock{8 * mib / block_size}, 1));
  ASSERT_TRUE(ranges);
  EXPECT_EQ(ranges->front().state, RangeState::lost);
}

// Another has its number by then: members are told by more than that.
TEST_F(WithoutADisk, OneThatComesBackIsNotTakenForTheOneThatHasItsPlace) {
  make({{"bulk", BlobKind::transparent, 1}});
  age();
  close();
  hidden_ = &media_[0];
  force_ = true;
  open();
  const BlobId id = blob("bulk").id;
  auto removed = wait(pool_->remove_blob("bulk", true));
  ASSERT_TRUE(removed) << removed.error().message;
  ASSERT_TRUE(add("other", BlobKind::transparent, 1));
  ASSERT_EQ(blob("other").id, id);
  const auto newer = pattern(device_bytes, 9);
  write(0, newer);
  age();
  ASSERT_GT(blob("other").data_bytes, device_bytes * 9 / 10);
  close();
  hidden_ = nullptr;
  force_ = false;
  open();
  ASSERT_EQ(pool_->status().blobs.size(), 2u);
  EXPECT_EQ(blob("other").health, "ok");
  expect_content(device_, 0, newer);
}

TEST_F(WithoutADisk, AMemberThatIsMissingIsNamed) {
  make({});
  ASSERT_TRUE(add("bulk", BlobKind::transparent, 1));
  close();
  media_.clear();
  const auto opened = try_open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::not_found);
  EXPECT_NE(opened.error().message.find("{name: bulk, kind: transparent, tier: 1"),
            std::string::npos)
      << opened.error().message;
}

TEST_F(WithoutADisk, OneOfWhichPartsCannotBeReadSaysSoAndTheRestIsServed) {
  make({{"bulk", BlobKind::transparent, 1}});
  age();
  EXPECT_EQ(blob("bulk").health, "ok");
  media_[0].fail_reads(media_[0].size() / 2, media_[0].size() / 2 - mib);
  const uint64_t segment = blob("bulk").segment_bytes;
  media_[0].fail_reads(mib + 2 * segment, segment);
  std::vector<std::byte> got(block_size);
  size_t bad = 0;
  for (uint64_t at = 0; at < device_bytes; at += block_size) {
    auto read = wait(pool_->read(device_, at, got));
    bad += !read;
    if (!read) continue;
    EXPECT_EQ(0, std::memcmp(got.data(), content_.data() + at, block_size)) << at;
  }
  EXPECT_GT(bad, 0u);
  EXPECT_LE(bad, segment / block_size);
  EXPECT_TRUE(blob("bulk").health.starts_with("failing: ")) << blob("bulk").health;
  EXPECT_EQ(blob("journal").health, "ok");
  EXPECT_FALSE(pool_->lost().empty());
  write(0, pattern(mib, 3));
}

// A2: no tail is cut for what cannot be read.
TEST_F(WithoutADisk, AJournalThatTheLogMayGoOnOnIsNotDoneWithout) {
  make({{"second", BlobKind::journal, 0}});
  close();
  away_ = true;
  auto opened = try_open();
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find("unless the log goes on on it"), std::string::npos)
      << opened.error().message;
  force_ = true;
  opened = try_open();
  EXPECT_EQ(error_of(opened), Code::io);
  EXPECT_NE(opened.error().message.find("bring that disk back"), std::string::npos)
      << opened.error().message;
  away_ = force_ = false;
  open();
  expect_content(device_, 0, content_);
}

// What it would be taken for otherwise is smaller: then addresses on it would be no addresses.
TEST_F(WithoutADisk, ItsSegmentsCountAsLargeAsTheyAre) {
  make({});
  constexpr uint64_t large = 12 * mib;
  SimMedium& medium = media_.emplace_back("large", 256 * mib);
  NewBlob bulk = added("bulk", BlobKind::transparent, 1);
  bulk.segment_bytes = large;
  ASSERT_TRUE(wait(pool_->add_blob(open_sim_disk(medium, *executor_), bulk)));
  age();
  const BlobStatus before = blob("bulk");
  ASSERT_EQ(before.segment_bytes, large);
  ASSERT_GT(before.data_bytes, 11 * mib);
  close();
  away_ = force_ = true;
  open();
  EXPECT_EQ(blob("bulk").segment_bytes, large);
  EXPECT_EQ(blob("bulk").size, before.size);
  EXPECT_EQ(blob("bulk").data_bytes, before.data_bytes);
  std::vector<std::byte> got(block_size);
  EXPECT_EQ(error_of(wait(pool_->read(device_, 11 * mib, got))), Code::io);
  ASSERT_TRUE(wait(pool_->count_shares()));
  EXPECT_TRUE(pool_->status().walk.complete);
  auto removed = wait(pool_->remove_blob("bulk", true));
  ASSERT_TRUE(removed) << removed.error().message;
}

// The counts do not know yet that it is dead, since each of two had shared it.
TEST_F(WithoutADisk, WhatIsDeadThereNeedNotBeReadToBeGivenUp) {
  make({{"bulk", BlobKind::transparent, 1}});
  std::vector<Pool::Fork> forks{{device_, "twin"}};
  auto twin = wait(pool_->fork(std::move(forks), false));
  ASSERT_TRUE(twin);
  age();
  ASSERT_GT(blob("bulk").data_bytes, 10 * mib);
  close();
  away_ = force_ = true;
  open();
  for (const DeviceId device : {device_, twin->front().id})
    ASSERT_TRUE(wait(pool_->erase(device, 0, device_bytes)));
  const auto gone = evacuate("bulk");
  ASSERT_TRUE(gone) << gone.error().message;
  ASSERT_TRUE(wait(pool_->remove_blob("bulk")));
  EXPECT_TRUE(pool_->lost().empty());
}

// A13: what was accepted as lost stays lost, whatever lies on the disk that has come back.
TEST_F(WithoutADisk, OneThatWasGivenUpIsAStrangerWhenItComesBack) {
  make({{"bulk", BlobKind::transparent, 1}});
  age();
  close();
  away_ = force_ = true;
  open();
  auto removed = wait(pool_->remove_blob("bulk", true));
  ASSERT_TRUE(removed) << removed.error().message;
  const auto newer = pattern(mib, 9);
  write(0, newer);
  close();
  away_ = force_ = false;
  open();
  EXPECT_EQ(pool_->status().blobs.size(), 1u);
  EXPECT_TRUE(std::ranges::any_of(told_, [](const std::string& what) {
    return what.find("is not a member of this pool") != std::string::npos;
  }));
  expect_content(device_, 0, newer);
  std::vector<std::byte> got(block_size);
  for (uint64_t at = mib; at < device_bytes; at += 777 * block_size)
    EXPECT_EQ(error_of(wait(pool_->read(device_, at, got))), Code::io) << at;
}

}  // namespace
}  // namespace lamina
