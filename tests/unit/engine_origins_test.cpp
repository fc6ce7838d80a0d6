// SPDX-License-Identifier: Apache-2.0
// External origins: read through, never changed, shared like anything else, and watched (C7).
#include <algorithm>

#include "blobs/sim_image.h"
#include "engine/tables.h"
#include "engine_pool_fixture.h"

namespace lamina {
namespace {

class WithImage : public PoolOnSimulatedDisk {
 protected:
  void SetUp() override {
    settings_.open_image = images_.opener();
    image_bytes_ = pattern(100 * block_size + 700, 3);
    images_.make("/images/base", image_bytes_);
    PoolOnSimulatedDisk::SetUp();
    id_ = make("vm");
    const auto set = wait(pool_->set_origin(id_, "/images/base"));
    ASSERT_TRUE(set) << set.error().message;
  }
  DeviceId make(const std::string& name, uint64_t size = 0) {
    const auto made = wait(pool_->create(name, size, {}));
    EXPECT_TRUE(made);
    return made->id;
  }
  Code read_code(DeviceId id, uint64_t offset) {
    std::vector<std::byte> got(block_size);
    const auto read = wait(pool_->read(id, offset, got));
    EXPECT_FALSE(read);
    return read ? Code::invalid : read.error().code;
  }
  void modify(uint64_t at) {
    SimImage& image = images_.at("/images/base");
    image.bytes[at] ^= std::byte{1};
    ++image.mtime_ns;
  }

  SimImages images_;
  std::vector<std::byte> image_bytes_;
  DeviceId id_ = DeviceId::none;
};

TEST_F(WithImage, ADeviceIsAsTheImageIsAndTakesNoSpace) {
  const auto info = pool_->info(id_);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->size_bytes, image_bytes_.size());
  EXPECT_EQ(info->mapped_bytes, 0u);
  EXPECT_EQ(info->origin_files, std::vector<std::string>{"/images/base"});
  expect_content(id_, 0, image_bytes_);
  ASSERT_TRUE(wait(pool_->checkpoint()));
  expect_content(id_, 0, image_bytes_);
  EXPECT_EQ(pool_->info(id_)->mapped_bytes, 0u);
  EXPECT_EQ(pool_->status().data_bytes, 0u);
}

TEST_F(WithImage, ItIsStillThereAfterACrashAndAfterARemount) {
  crash();
  expect_content(id_, 0, image_bytes_);
  remount();
  expect_content(id_, 0, image_bytes_);
  EXPECT_EQ(pool_->info(id_)->origin_files.size(), 1u);
}

TEST_F(WithImage, WritesDivergeAndTheImageStaysAsItIs) {
  auto expected = image_bytes_;
  const auto data = pattern(5000, 99);
  ASSERT_TRUE(wait(pool_->write(id_, 3 * block_size + 10, data)));
  std::copy(data.begin(), data.end(), expected.begin() + 3 * block_size + 10);
  expect_content(id_, 0, expected);
  ASSERT_TRUE(wait(pool_->checkpoint()));
  expect_content(id_, 0, expected);
  EXPECT_EQ(images_.at("/images/base").bytes, image_bytes_);
  EXPECT_EQ(pool_->info(id_)->mapped_bytes, 2 * block_size);
}

TEST_F(WithImage, WhatIsDiscardedReadsAsZeroesAndNotAsTheImage) {
  ASSERT_TRUE(wait(pool_->erase(id_, 0, 10 * block_size)));
  auto expected = image_bytes_;
  std::fill_n(expected.begin(), 10 * block_size, std::byte{0});
  expect_content(id_, 0, expected);
  ASSERT_TRUE(wait(pool_->checkpoint()));
  expect_content(id_, 0, expected);
  remount();
  expect_content(id_, 0, expected);
}

TEST_F(WithImage, BehindAnEndThatIsNotAlignedAreZeroes) {
  const std::vector<std::byte> zeroes(3 * block_size);
  ASSERT_TRUE(wait(pool_->resize(id_, image_bytes_.size() + 3 * block_size)));
  expect_content(id_, image_bytes_.size(), zeroes);
  expect_content(id_, 0, image_bytes_);
}

TEST_F(WithImage, ALargerDeviceStaysAsLargeAsItIs) {
  const DeviceId larger = make("larger", 400 * block_size);
  ASSERT_TRUE(wait(pool_->set_origin(larger, "/images/base")));
  EXPECT_EQ(pool_->info(larger)->size_bytes, 400 * block_size);
  expect_content(larger, 0, image_bytes_);
  expect_content(larger, image_bytes_.size(), std::vector<std::byte>(20 * block_size));
}

TEST_F(WithImage, SnapshotsAndCopiesShareIt) {
  const auto made = wait(pool_->fork({{id_, "snapshot"}}, false));
  ASSERT_TRUE(made);
  const DeviceId copy = make("copy", 4 * block_size);
  ASSERT_TRUE(wait(pool_->write(copy, 0, pattern(block_size, 1))));
  const auto copied =
      wait(pool_->copy(id_, 20 * block_size, copy, 2 * block_size, 50 * block_size));
  ASSERT_TRUE(copied);
  EXPECT_EQ(*copied, 50 * block_size);
  const std::vector<std::byte> part(image_bytes_.begin() + 20 * block_size,
                                    image_bytes_.begin() + 70 * block_size);
  ASSERT_TRUE(wait(pool_->remove("vm")));
  remount();
  expect_content(made->front().id, 0, image_bytes_);
  expect_content(copy, 2 * block_size, part);
  EXPECT_EQ(pool_->info(copy)->mapped_bytes, block_size);
  EXPECT_EQ(pool_->info(copy)->origin_files.size(), 1u);
}

TEST_F(WithImage, SeveralDevicesReadOneImage) {
  const DeviceId other = make("other");
  ASSERT_TRUE(wait(pool_->set_origin(other, "/images/base")));
  ASSERT_EQ(pool_->status().origins.size(), 1u);
  EXPECT_EQ(pool_->status().origins.front().devices, 2u);
  ASSERT_TRUE(wait(pool_->write(other, 0, pattern(block_size, 77))));
  expect_content(id_, 0, image_bytes_);
  expect_content(other, 0, pattern(block_size, 77));
}

TEST_F(WithImage, OneThatNobodyRefersToIsForgotten) {
  EXPECT_EQ(pool_->status().origins.size(), 1u);
  ASSERT_TRUE(wait(pool_->remove("vm")));
  ASSERT_TRUE(wait(pool_->checkpoint()));
  EXPECT_TRUE(pool_->status().origins.empty());
  // Its name is not given again.
  remount();
  const DeviceId next = make("next");
  ASSERT_TRUE(wait(pool_->set_origin(next, "/images/base")));
  const auto map = wait(pool_->map(next, DeviceBlock{0}, 10));
  ASSERT_TRUE(map);
  EXPECT_EQ(raw(map->front().address.generation), first_origin_generation + 1);
  EXPECT_EQ(map->front().origin, "/images/base");
}

TEST_F(WithImage, WhatHasChangedIsNeverReadAndIsListedUntilItIsAccepted) {
  ASSERT_TRUE(wait(pool_->write(id_, 5 * block_size, pattern(2 * block_size, 9))));
  modify(50 * block_size);
  EXPECT_EQ(read_code(id_, 50 * block_size), Code::io);
  EXPECT_EQ(read_code(id_, 0), Code::io);
  expect_content(id_, 5 * block_size, pattern(2 * block_size, 9));
  const auto lost = wait(pool_->lost_now());
  ASSERT_TRUE(lost);
  ASSERT_EQ(lost->size(), 2u);
  EXPECT_EQ(lost->at(0).range, (BlockRange{{0}, {5}}));
  EXPECT_EQ(lost->at(1).range, (BlockRange{{7}, {101}}));
  EXPECT_TRUE(pool_->lost().empty());
  EXPECT_NE(pool_->status().origins.at(0).health.find("modified"), std::string::npos);

  remount();
  EXPECT_EQ(read_code(id_, 0), Code::io);
  EXPECT_TRUE(std::ranges::any_of(
      told_, [](const std::string& said) { return said.find("modified") != std::string::npos; }));
  const auto accepted = wait(pool_->accept_origin(id_, ""));
  ASSERT_TRUE(accepted) << accepted.error().message;
  auto expected = images_.at("/images/base").bytes;
  const auto own = pattern(2 * block_size, 9);
  std::copy(own.begin(), own.end(), expected.begin() + 5 * block_size);
  expect_content(id_, 0, expected);
  EXPECT_TRUE(wait(pool_->lost_now())->empty());
  crash();
  expect_content(id_, 0, expected);
}

TEST_F(WithImage, WholeBlocksAreWrittenOverOneThatHasChanged) {
  modify(0);
  const auto data = pattern(block_size, 5);
  ASSERT_TRUE(wait(pool_->write(id_, 0, data)));
  expect_content(id_, 0, data);
  // A part of one would need the rest of it.
  const auto part = wait(pool_->write(id_, 10 * block_size + 100, std::span(data).first(50)));
  ASSERT_FALSE(part);
  EXPECT_EQ(part.error().code, Code::io);
}

TEST_F(WithImage, AnMtimeThatIsSetBackDoesNotHideAWrite) {
  SimImage& image = images_.at("/images/base");
  image.bytes[70 * block_size] ^= std::byte{1};
  ++image.ctime_ns;
  EXPECT_EQ(read_code(id_, 70 * block_size), Code::io);
}

TEST_F(WithImage, ALeaseSpeaksForIt) {
  SimImage& image = images_.at("/images/base");
  image.leased = true;
  ++image.ctime_ns;  // somebody has changed its mode
  expect_content(id_, 0, image_bytes_);
  image.leased = false;
  expect_content(id_, 0, image_bytes_);
  ++image.ctime_ns;
  EXPECT_EQ(read_code(id_, 0), Code::io);
}

TEST_F(WithImage, TheSampleTellsOfAnotherContentWithTheSameTimes) {
  ASSERT_TRUE(wait(pool_->close()));
  pool_.reset();
  images_.at("/images/base").bytes[0] ^= std::byte{1};
  open();
  EXPECT_EQ(read_code(id_, 0), Code::io);
}

TEST_F(WithImage, OneThatIsGoneComesBackAsItWas) {
  ASSERT_TRUE(wait(pool_->close()));
  pool_.reset();
  const SimImage saved = images_.at("/images/base");
  images_.remove("/images/base");
  open();
  EXPECT_EQ(read_code(id_, 0), Code::io);
  const auto gone = wait(pool_->accept_origin(id_, ""));
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, Code::not_found);
  // Somewhere else, after an admin has said so.
  images_.make("/images/moved", saved.bytes);
  ASSERT_TRUE(wait(pool_->accept_origin(id_, "/images/moved")));
  expect_content(id_, 0, image_bytes_);
  remount();
  expect_content(id_, 0, image_bytes_);
}

TEST_F(WithImage, AShorterOneIsNotAcceptedAndALongerOneShowsNoMoreThanItDid) {
  SimImage& image = images_.at("/images/base");
  image.bytes.resize(50 * block_size);
  EXPECT_EQ(read_code(id_, 0), Code::io);
  EXPECT_EQ(read_code(id_, 60 * block_size), Code::io);
  const auto shorter = wait(pool_->accept_origin(id_, ""));
  ASSERT_FALSE(shorter);
  EXPECT_EQ(shorter.error().code, Code::invalid);
  EXPECT_NE(shorter.error().message.find("shorter"), std::string::npos);
  EXPECT_EQ(pool_->status().origin_refused, shorter.error().message);

  auto longer = image_bytes_;
  longer.resize(longer.size() + 5 * block_size, std::byte{0xee});
  images_.make("/images/base", longer);
  const auto accepted = wait(pool_->accept_origin(id_, ""));
  ASSERT_TRUE(accepted) << accepted.error().message;
  expect_content(id_, 0, image_bytes_);
  ASSERT_TRUE(wait(pool_->resize(id_, image_bytes_.size() + block_size)));
  expect_content(id_, image_bytes_.size(), std::vector<std::byte>(block_size));
}

TEST_F(WithImage, OnlyAnEmptyDeviceGetsOneAndARefusalChangesNothing) {
  const auto again = wait(pool_->set_origin(id_, "/images/base"));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::exists);
  const DeviceId other = make("other", block_size);
  const auto missing = wait(pool_->set_origin(other, "/images/none"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::not_found);
  EXPECT_EQ(pool_->info(other)->size_bytes, block_size);
  EXPECT_TRUE(pool_->info(other)->origin_files.empty());
  const auto nothing = wait(pool_->accept_origin(id_, ""));
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().code, Code::invalid);
  // Emptied, it is as good as new.
  ASSERT_TRUE(wait(pool_->truncate_to_empty(id_)));
  EXPECT_TRUE(pool_->info(id_)->origin_files.empty());
  ASSERT_TRUE(wait(pool_->set_origin(id_, "/images/base")));
  expect_content(id_, 0, image_bytes_);
}

TEST_F(WithImage, AWalkCountsNothingOfIt) {
  ASSERT_TRUE(wait(pool_->write(id_, 0, pattern(4 * block_size, 4))));
  ASSERT_TRUE(wait(pool_->fork({{id_, "snapshot"}}, true)));
  ASSERT_TRUE(wait(pool_->write(id_, 0, pattern(block_size, 5))));
  ASSERT_TRUE(wait(pool_->count_shares()));
  const auto info = pool_->info(id_);
  ASSERT_TRUE(info && info->share);
  EXPECT_EQ(info->share->exclusive_bytes, block_size);
  EXPECT_EQ(info->share->shared_bytes, 3 * block_size);
  EXPECT_EQ(pool_->status().data_bytes, 5 * block_size);
}

TEST(Tables, OfVersionsBeforeAreRead) {
  Tables tables;
  tables.number = 7;
  tables.next_device = DeviceId{3};
  auto bytes = pack_tables(tables);
  ASSERT_EQ(bytes[0], std::byte{5});
  bytes[0] = std::byte{4};  // of one layout
  const auto now = unpack_tables(bytes);
  ASSERT_TRUE(now);
  EXPECT_EQ(raw(now->next_origin), first_origin_generation);
  // Without sizes of segments, which is the third byte of the end, and suspect ranges, which is one
  // of the zeroes at the end: two lists, empty.
  bytes.erase(bytes.end() - 3);
  auto zeroes = std::search_n(bytes.rbegin(), bytes.rend(), 12, std::byte{0});
  ASSERT_NE(zeroes, bytes.rend());
  bytes.erase(zeroes.base() - 1);
  bytes[0] = std::byte{3};
  const auto before_suspects = unpack_tables(bytes);
  ASSERT_TRUE(before_suspects) << before_suspects.error().message;
  EXPECT_TRUE(before_suspects->suspect.empty());
  EXPECT_TRUE(before_suspects->segment_blocks.empty());
  // Without how far a scrub is, which is seven of them.
  zeroes = std::search_n(bytes.rbegin(), bytes.rend(), 11, std::byte{0});
  bytes.erase(zeroes.base() - 7, zeroes.base());
  bytes[0] = std::byte{2};
  const auto before_scrubs = unpack_tables(bytes);
  ASSERT_TRUE(before_scrubs) << before_scrubs.error().message;
  EXPECT_EQ(before_scrubs->scrub, ScrubPosition{});
  // Without the next origin, which is five bytes, and the empty list.
  const auto at = std::search_n(bytes.begin(), bytes.end(), 4, std::byte{0x80});
  ASSERT_NE(at, bytes.end());
  bytes.erase(at, at + 6);
  bytes[0] = std::byte{1};
  const auto before_origins = unpack_tables(bytes);
  ASSERT_TRUE(before_origins) << before_origins.error().message;
  EXPECT_EQ(before_origins->number, 7u);
  EXPECT_EQ(before_origins->next_device, DeviceId{3});
  EXPECT_TRUE(before_origins->origins.empty());
  bytes[0] = std::byte{6};
  const auto after = unpack_tables(bytes);
  ASSERT_FALSE(after);
  EXPECT_EQ(after.error().code, Code::unsupported);
  EXPECT_NE(after.error().message.find("another version of lamina"), std::string::npos);
}

}  // namespace
}  // namespace lamina
