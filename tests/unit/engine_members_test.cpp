// SPDX-License-Identifier: Apache-2.0
// Blobs that are added, emptied and removed while the pool serves.
#include <gtest/gtest.h>

#include <set>

#include "blobs/frame.h"
#include "blobs/frame_format.h"
#include "engine_pool_of_disks.h"

namespace lamina {
namespace {

TEST_F(PoolOfDisks, WhatIsOnABlobGoesToAnotherOfItsTierAndItIsRemoved) {
  make({{"one", BlobKind::transparent, 1}, {"two", BlobKind::transparent, 1}});
  age();
  ASSERT_GT(blob("one").data_bytes, 4 * mib);
  auto gone = evacuate("one");
  ASSERT_TRUE(gone) << gone.error().message;
  EXPECT_EQ(blob("one").used, 0u);
  EXPECT_NEAR(static_cast<double>(blob("two").data_bytes), device_bytes, device_bytes / 20.0);
  expect_content(device_, 0, content_);
  auto removed = wait(pool_->remove_blob("one"));
  ASSERT_TRUE(removed) << removed.error().message;
  EXPECT_EQ(pool_->status().blobs.size(), 2u);
  expect_content(device_, 0, content_);
  close();
  open();
  EXPECT_TRUE(told_.empty()) << told_.front();
  EXPECT_EQ(pool_->status().blobs.size(), 2u);
  expect_content(device_, 0, content_);
}

// Nobody waits until it is discarded but who removes the blob, and he does.
TEST_F(PoolOfDisks, ABlobIsEmptyBeforeItIsDiscardedAndRemovedAfterwards) {
  make({{"one", BlobKind::transparent, 1}, {"two", BlobKind::transparent, 1}});
  age();
  ASSERT_TRUE(evacuate("one"));
  EXPECT_EQ(pool_->status().evacuation.left_segments, 0u);
  const auto removed = wait(pool_->remove_blob("one"));
  ASSERT_TRUE(removed) << removed.error().message;
  close();
  open();
  expect_content(device_, 0, content_);
}

TEST_F(PoolOfDisks, TheOnlyBlobBelowTheFirstTierGoesBackUp) {
  make({{"cold", BlobKind::compression, 1}});
  age();
  ASSERT_GT(blob("cold").data_bytes, 8 * mib);
  auto gone = evacuate("cold");
  ASSERT_TRUE(gone) << gone.error().message;
  ASSERT_TRUE(wait(pool_->remove_blob("cold")));
  EXPECT_NEAR(static_cast<double>(blob("journal").data_bytes), device_bytes, device_bytes / 20.0);
  expect_content(device_, 0, content_);
  cut_power();
  open();
  expect_content(device_, 0, content_);
}

// What frames on a disk store, each as its bytes.
std::multiset<std::string> frames_on(const SimMedium& medium) {
  std::multiset<std::string> found;
  std::vector<std::byte> all(medium.size());
  medium.read(0, all);
  for (size_t at = 0; at + sizeof(FrameFormat) < all.size(); at += frame_grain) {
    FrameFormat format;
    std::memcpy(&format, all.data() + at, sizeof format);
    const size_t head = sizeof format + format.blocks * sizeof(le32);
    if (format.magic != frame_magic || at + head + format.bytes.load() > all.size()) continue;
    found.emplace(reinterpret_cast<const char*>(all.data()) + at + head, format.bytes.load());
  }
  return found;
}

// Words over and over, of which a higher level makes less.
std::vector<std::byte> words(size_t bytes) {
  std::mt19937_64 random(7);
  std::vector<std::byte> data(bytes);
  for (size_t at = 0; at + 8 <= bytes; at += 8) {
    const uint64_t word = (random() % 4096) * 0x9e3779b97f4a7c15;
    std::memcpy(data.data() + at, &word, 8);
  }
  return data;
}

// D4, B6: neither decompressed nor compressed again. What would be made anew is of another level.
TEST_F(PoolOfDisks, FramesThatLiveWholeAreCarriedAsTheyAre) {
  make({{"one", BlobKind::compression, 1}});
  content_ = words(device_bytes);
  write(0, content_);
  age();
  const auto before = frames_on(media_[0]);
  ASSERT_GT(before.size(), device_bytes / block_size / frame_blocks / 2);
  NewBlob other = added("two", BlobKind::compression, 1);
  other.level = 19;
  ASSERT_TRUE(wait(pool_->add_blob(open_sim_disk(add_medium(), *executor_), other)));
  for (uint64_t block = 0; block < 40; ++block) {  // here and there one that does not live whole
    const auto changed = pattern(block_size, static_cast<uint8_t>(block));
    std::copy(changed.begin(), changed.end(),
              content_.begin() + static_cast<long>(block * 64 * block_size));
    ASSERT_TRUE(wait(pool_->write(device_, block * 64 * block_size, changed)));
  }
  auto gone = evacuate("one");
  ASSERT_TRUE(gone) << gone.error().message;
  size_t carried = 0, others = 0;
  for (const std::string& frame : frames_on(media_[1]))
    if (before.contains(frame))
      ++carried;
    else
      ++others;
  EXPECT_GT(carried, 100u);
  EXPECT_GT(others, 0u);
  EXPECT_LT(others, carried);
  expect_content(device_, 0, content_);
  ASSERT_TRUE(wait(pool_->remove_blob("one")));
  cut_power();
  open();
  expect_content(device_, 0, content_);
}

// B6: what does not match its checksum is not carried on, and the rest is served.
TEST_F(PoolOfDisks, ADamagedFrameStaysWhereItIs) {
  make({{"one", BlobKind::compression, 1}});
  content_ = words(device_bytes);
  write(0, content_);
  age();
  std::vector<std::byte> all(media_[0].size());
  media_[0].read(0, all);
  size_t frames = 0;
  for (size_t at = mib; frames < 20; at += frame_grain)
    if (std::memcmp(all.data() + at, frame_magic.data(), 4) == 0 && ++frames == 20) {
      all[at + 1000] ^= std::byte{4};
      media_[0].damage(at + 1000, std::span(all).subspan(at + 1000, 1));
    }
  ASSERT_TRUE(add("two", BlobKind::compression, 1));
  EXPECT_FALSE(evacuate("one"));
  EXPECT_GT(frames_on(media_[1]).size(), 50u);
  size_t lost = 0;
  std::vector<std::byte> got(block_size);
  for (uint64_t at = 0; at < device_bytes; at += block_size) {
    auto read = wait(pool_->read(device_, at, got));
    if (!read)
      ++lost;
    else
      ASSERT_EQ(0, std::memcmp(got.data(), content_.data() + at, block_size)) << at;
  }
  EXPECT_GE(lost, 1u);
  EXPECT_LE(lost, frame_blocks);
}

// B4: frames say themselves where they lie, to the mover too.
TEST_F(PoolOfDisks, ADamagedFrameIndexKeepsNobodyFromLeaving) {
  make({{"one", BlobKind::compression, 1}});
  content_ = words(device_bytes);
  write(0, content_);
  age();
  const std::vector<std::byte> bad(block_size, std::byte{0x17});
  const uint64_t segment = blob("one").segment_bytes;
  size_t which = 0;
  for (uint64_t at = mib; at + segment <= media_[0].size() - mib; at += segment)
    if (++which % 2 == 0)
      media_[0].damage(at + block_size, bad);
    else
      media_[0].fail_reads(at + block_size, block_size);
  ASSERT_TRUE(add("two", BlobKind::compression, 1));
  const auto gone = evacuate("one");
  EXPECT_TRUE(gone) << gone.error().message;
  EXPECT_TRUE(pool_->lost().empty());
  expect_content(device_, 0, content_);
}

// What cannot be read any more on a blob that is to leave.
class WithUnreadableBlob : public PoolOfDisks, public testing::WithParamInterface<BlobKind> {
 protected:
  void make_damaged() {
    make({{"one", GetParam(), 1}});
    content_ = words(device_bytes);
    write(0, content_);
    std::vector<Pool::Fork> forks;
    forks.push_back({device_, "snapshot"});
    auto snapshot = wait(pool_->fork(std::move(forks), true));
    ASSERT_TRUE(snapshot);
    auto copy = wait(pool_->create("copy", device_bytes, {}));
    ASSERT_TRUE(copy);
    ASSERT_TRUE(wait(pool_->copy(device_, 0, copy->id, mib, 3 * mib)));
    devices_ = {{device_, 0, device_bytes},
                {snapshot->front().id, 0, device_bytes},
                {copy->id, mib, 3 * mib}};
    age();
    // In the midst of a segment of data: one block that is wrong, some that cannot be read.
    const uint64_t segment = blob("one").segment_bytes;
    std::vector<std::byte> block(block_size);
    media_[0].read(mib + segment + segment / 2, block);
    block[77] ^= std::byte{1};
    media_[0].damage(mib + segment + segment / 2, block);
    media_[0].fail_reads(mib + 2 * segment + segment / 4, 3 * block_size);
    ASSERT_TRUE(add("two", GetParam(), 1));
  }
  // Everything is what it was, or cannot be read; how many blocks cannot.
  size_t count_lost() {
    size_t lost = 0;
    std::vector<std::byte> got(block_size);
    for (const auto& [id, begin, bytes] : devices_)
      for (uint64_t at = 0; at < bytes; at += block_size) {
        auto read = wait(pool_->read(id, begin + at, got));
        if (!read)
          ++lost;
        else
          EXPECT_EQ(0, std::memcmp(got.data(), content_.data() + at, block_size)) << at;
      }
    return lost;
  }

  struct Holder {
    DeviceId id;
    uint64_t begin, bytes;
  };
  std::vector<Holder> devices_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, WithUnreadableBlob,
                         testing::Values(BlobKind::transparent, BlobKind::compression),
                         [](const auto& kind) { return std::string(name_of(kind.param)); });

TEST_P(WithUnreadableBlob, WhatCanBeReadLeavesAndTheRestIsListed) {
  make_damaged();
  const auto stopped = evacuate("one");
  ASSERT_FALSE(stopped);
  EXPECT_NE(stopped.error().message.find("cannot be read"), std::string::npos)
      << stopped.error().message;
  EXPECT_FALSE(pool_->lost().empty());
  EXPECT_LE(blob("one").data_bytes, 8 * frame_blocks * block_size);
  const size_t lost = count_lost();
  EXPECT_GE(lost, 2 * 4u);  // of the device and of the snapshot
  EXPECT_LE(lost, 3 * 5 * frame_blocks);
  EXPECT_EQ(error_of(wait(pool_->remove_blob("one"))), Code::busy);
}

TEST_P(WithUnreadableBlob, ItGoesWhenTheLossIsAccepted) {
  make_damaged();
  const size_t lost = count_lost();
  auto removed = wait(pool_->remove_blob("one", true));
  ASSERT_TRUE(removed) << removed.error().message;
  EXPECT_EQ(pool_->status().blobs.size(), 2u);
  EXPECT_EQ(count_lost(), lost);
  cut_power();
  open();
  EXPECT_EQ(pool_->status().blobs.size(), 2u);
  EXPECT_EQ(count_lost(), lost);
  EXPECT_FALSE(pool_->lost().empty());
  write(0, content_);  // what is lost is cleared by writing it
  expect_content(device_, 0, content_);
}

TEST_F(PoolOfDisks, OneOfTwoJournalsLeavesWithTheLogAndTheNodesInIt) {
  make({{"second", BlobKind::journal, 0}});
  for (const char* name : {"journal", "second"}) {
    ASSERT_GT(blob(name).used, 0u);
  }
  auto gone = evacuate("journal");
  ASSERT_TRUE(gone) << gone.error().message;
  EXPECT_EQ(blob("journal").used, 0u);
  write(mib, pattern(2 * mib, 7));
  EXPECT_EQ(blob("journal").used, 0u);
  auto removed = wait(pool_->remove_blob("journal"));
  ASSERT_TRUE(removed) << removed.error().message;
  const auto second = pattern(2 * mib, 7);
  expect_content(device_, mib, second);
}

// The log went on for ever to leave a blob that it was given segments of again.
TEST_F(PoolOfDisks, AJournalThatIsKeptWhileTheLogLeavesItStays) {
  make({{"second", BlobKind::journal, 0}});
  for (int i = 0; i < 60; ++i) {
    const char* name = i % 2 ? "journal" : "second";
    ASSERT_TRUE(wait(pool_->evacuate(name)));
    auto step = [](uint64_t ns) -> Task<void> { co_await Sleep{ns}; };
    ASSERT_TRUE(executor_->run_until(step(static_cast<uint64_t>(i) * 500)));
    const auto kept = wait(pool_->keep(name));
    ASSERT_TRUE(kept) << kept.error().message;
    EXPECT_EQ(blob(name).use, BlobUse::serves);
  }
  expect_content(device_, 0, content_);
  cut_power();
  open();
  expect_content(device_, 0, content_);
}

TEST_F(PoolOfDisks, AnEvacuationGoesOnInTheNextLife) {
  make({{"one", BlobKind::transparent, 1}, {"two", BlobKind::transparent, 1}});
  age();
  ASSERT_TRUE(wait(pool_->evacuate("one")));
  cut_power();
  open();
  EXPECT_EQ(blob("one").use, BlobUse::leaving);
  auto ended = wait_until_ended();
  ASSERT_TRUE(ended) << ended.error().message;
  EXPECT_EQ(blob("one").used, 0u);
  close();
  open();
  ASSERT_TRUE(wait_until_ended());
  EXPECT_EQ(blob("one").use, BlobUse::leaving);
  ASSERT_TRUE(wait(pool_->keep("one")));
  EXPECT_EQ(blob("one").use, BlobUse::serves);
  close();
  open();
  EXPECT_EQ(blob("one").use, BlobUse::serves);
  EXPECT_EQ(pool_->status().evacuation.state, State::none);
  expect_content(device_, 0, content_);
}

// Homes of zeroes and aliases, and what only snapshots hold, go as well.
TEST_F(PoolOfDisks, SnapshotsCopiesAndDiscardsLeaveWithTheData) {
  make({{"one", BlobKind::transparent, 1}, {"two", BlobKind::compression, 2}});
  const std::vector<Pool::Fork> forks{{device_, "before"}};
  auto forked = wait(pool_->fork(forks, true));
  ASSERT_TRUE(forked);
  const DeviceId before = forked->front().id;
  const auto changed = pattern(mib, 9);
  write(mib, changed);
  ASSERT_TRUE(wait(pool_->erase(device_, 4 * mib, mib)));
  auto copy = wait(pool_->create("copy", 0, {}));
  ASSERT_TRUE(copy);
  ASSERT_TRUE(wait(pool_->copy(device_, 0, copy->id, mib, 3 * mib)));
  age();
  auto gone = evacuate("one");
  ASSERT_TRUE(gone) << gone.error().message;
  gone = evacuate("two");
  ASSERT_FALSE(gone);  // one at a time
  ASSERT_TRUE(wait(pool_->remove_blob("one")));
  gone = evacuate("two");
  ASSERT_TRUE(gone) << gone.error().message;
  ASSERT_TRUE(wait(pool_->remove_blob("two")));
  cut_power();
  open();
  expect_content(before, 0, content_);
  std::copy(changed.begin(), changed.end(), content_.begin() + mib);
  std::fill_n(content_.begin() + 4 * mib, mib, std::byte{});
  expect_content(device_, 0, content_);
  content_.resize(3 * mib);
  expect_content(copy->id, mib, content_);
}

TEST_F(PoolOfDisks, ATargetThatDisappearsMidwayLosesNothing) {
  make({{"one", BlobKind::transparent, 1}, {"two", BlobKind::transparent, 1}});
  age();
  ASSERT_TRUE(wait(pool_->evacuate("one")));
  set_faults(*others_[1], {.dead = true});
  const auto ended = wait_until_ended();  // elsewhere
  ASSERT_TRUE(ended) << ended.error().message;
  EXPECT_TRUE(blob("two").health.starts_with("failed"));
  EXPECT_EQ(blob("one").used, 0u);
  cut_power();
  open();
  EXPECT_TRUE(blob("two").health.starts_with("failed"));
  expect_content(device_, 0, content_);
}

// Or does not any more: what was evacuated leaves, and what dies is used again.
TEST_F(PoolOfDisks, DisksThatCannotDiscardAreUsedAllTheSame) {
  make({{"one", BlobKind::journal, 0}, {"below", BlobKind::transparent, 1}});
  for (Disk* disk : others_) set_faults(*disk, {.fail_discards = true});
  told_.clear();
  for (uint8_t round = 2; round < 20; ++round) {
    content_ = pattern(device_bytes, round);
    write(0, content_);
    if (round % 3 == 0) age();
  }
  EXPECT_EQ(told_.size(), 1U);
  const auto left = evacuate("one");
  ASSERT_TRUE(left) << left.error().message;
  const auto removed = wait(pool_->remove_blob("one"));
  ASSERT_TRUE(removed) << removed.error().message;
  expect_content(device_, 0, content_);
  cut_power();
  media_.pop_front();
  open();
  expect_content(device_, 0, content_);
}

TEST_F(PoolOfDisks, ABlobIsAddedAndFilled) {
  make({});
  const uint64_t size = pool_->status().size;
  auto made = add("bulk", BlobKind::transparent, 1);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_GT(pool_->status().size, size * 18 / 10);
  age();
  EXPECT_GT(blob("bulk").data_bytes, device_bytes * 9 / 10);
  made = add("between", BlobKind::compression, 3);
  ASSERT_TRUE(made) << made.error().message;
  made = add("second", BlobKind::journal, 0);
  ASSERT_TRUE(made) << made.error().message;
  expect_content(device_, 0, content_);
  cut_power();
  open();
  ASSERT_EQ(pool_->status().blobs.size(), 4u);
  age();
  EXPECT_GT(blob("between").data_bytes, device_bytes * 9 / 10);
  expect_content(device_, 0, content_);
}

TEST_F(PoolOfDisks, WhatCannotBeIsRefusedAndChangesNothing) {
  make({{"one", BlobKind::transparent, 1}, {"two", BlobKind::transparent, 1}});
  age();
  EXPECT_EQ(error_of(wait(pool_->evacuate("journal"))), Code::invalid);
  EXPECT_EQ(error_of(wait(pool_->remove_blob("journal"))), Code::invalid);
  EXPECT_EQ(error_of(wait(pool_->evacuate("three"))), Code::not_found);
  EXPECT_EQ(error_of(wait(pool_->remove_blob("three"))), Code::not_found);
  EXPECT_EQ(error_of(wait(pool_->keep("three"))), Code::not_found);
  EXPECT_EQ(error_of(wait(pool_->keep("one"))), Code::invalid);
  EXPECT_EQ(error_of(wait(pool_->remove_blob("one"))), Code::busy);
  EXPECT_EQ(error_of(add("one", BlobKind::transparent, 1)), Code::exists);
  EXPECT_EQ(error_of(add("other", BlobKind::compression, 1)), Code::invalid);
  for (const BlobStatus& blob : pool_->status().blobs) EXPECT_EQ(blob.use, BlobUse::serves);
  EXPECT_EQ(pool_->status().blobs.size(), 3u);
  ASSERT_TRUE(wait(pool_->evacuate("one")));
  EXPECT_EQ(error_of(wait(pool_->evacuate("one"))), Code::busy);
  EXPECT_EQ(error_of(wait(pool_->evacuate("two"))), Code::busy);
  ASSERT_TRUE(wait_until_ended());
  expect_content(device_, 0, content_);
}

TEST_F(PoolOfDisks, MoreThanTheRestCanTakeStaysWhereItIs) {
  make({{"one", BlobKind::transparent, 1}, {"two", BlobKind::transparent, 1}});
  std::vector<std::byte> more;
  for (int i = 0; i < 6; ++i) {
    more = pattern(14 * mib, static_cast<uint8_t>(10 + i));
    write(device_bytes + static_cast<uint64_t>(i) * more.size(), more);
    age();
  }
  const uint64_t before = blob("one").data_bytes;
  ASSERT_GT(before, 25 * mib);
  const auto refused = wait(pool_->evacuate("one"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::no_space);
  EXPECT_NE(refused.error().message.find("room for"), std::string::npos) << refused.error().message;
  EXPECT_EQ(blob("one").use, BlobUse::serves);
  EXPECT_EQ(blob("one").data_bytes, before);
  EXPECT_EQ(pool_->status().evacuated_bytes, 0u);
  // What is deleted makes room for it.
  ASSERT_TRUE(wait(pool_->resize(device_, device_bytes)));
  const auto gone = evacuate("one");
  ASSERT_TRUE(gone) << gone.error().message;
  expect_content(device_, 0, content_);
}

}  // namespace
}  // namespace lamina
