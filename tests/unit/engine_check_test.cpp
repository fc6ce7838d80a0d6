// SPDX-License-Identifier: Apache-2.0
// Checking a pool that is in use: whatever is damaged is found, and nothing else.
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "engine_pool_fixture.h"
#include "tests/metadata_places.h"

namespace lamina {
namespace {

class Checked : public PoolOnSimulatedDisk {
 protected:
  static constexpr uint64_t device_blocks = 4096;

  void SetUp() override {
    PoolOnSimulatedDisk::SetUp();
    const auto made = wait(pool_->create("disk", device_blocks * block_size, {}));
    ASSERT_TRUE(made);
    device_ = made->id;
    for (uint64_t block = 0; block < device_blocks; block += 2) write(block);
    ASSERT_TRUE(wait(pool_->erase(device_, 100 * block_size, 50 * block_size)));
    std::vector<Pool::Fork> forks;
    forks.push_back({device_, "snapshot"});
    ASSERT_TRUE(wait(pool_->fork(std::move(forks), true)));
    ASSERT_TRUE(wait(pool_->checkpoint()));
  }
  void write(uint64_t block) {
    std::vector<std::byte> data = pattern(block_size, static_cast<uint8_t>(++writes_));
    std::memcpy(data.data(), &writes_, sizeof writes_);
    const auto written = wait(pool_->write(device_, block * block_size, data));
    ASSERT_TRUE(written) << written.error().message;
  }
  static Task<void> asking(Pool& pool, bool data) {
    pool.ask_check(data);
    co_return;
  }
  static Task<void> pause(uint64_t ns) { co_await Sleep{ns}; }
  CheckStatus status() { return pool_->status().check; }
  uint64_t ask(bool data) {
    EXPECT_TRUE(executor_->run_until(asking(*pool_, data)));
    return status().asked;
  }
  void await_answer(uint64_t asked) {
    for (int i = 0; i < 100'000 && status().answered < asked; ++i)
      ASSERT_TRUE(executor_->run_until(pause(100'000)));
    ASSERT_GE(status().answered, asked);
    EXPECT_EQ(status().ended, "done");
  }
  std::vector<CheckFinding> check(bool data = false) {
    await_answer(ask(data));
    return pool_->check_findings();
  }
  static std::string text(const std::vector<CheckFinding>& findings) {
    std::string all;
    for (const CheckFinding& one : findings)
      all += one.rule + "  " + one.where + ": " + one.what + "\n";
    return all;
  }
  MetadataPlaces places() {
    blob_ = blob_on(medium_, *executor_);
    MetadataPlaces out;
    out.add(medium_, *blob_);
    return out;
  }

  // Places of the slots of that checkpoint, counted from the newest.
  std::vector<MetadataPlaces::Place> slots(CheckpointNumber behind_newest) {
    blob_ = blob_on(medium_, *executor_);
    CheckpointNumber newest = 0;
    for (CheckpointNumber number = 0; number < slot_ring_length; ++number)
      for (const uint64_t offset : blob_->slot_offsets(number)) {
        const Buffer block = MetadataPlaces::read({&medium_, offset});
        const auto slot = unpack_slot(block.span(), blob_->superblock().secret, blob_->id(),
                                      static_cast<uint32_t>(offset / block_size));
        if (slot) newest = std::max(newest, slot->number);
      }
    std::vector<MetadataPlaces::Place> out;
    for (const uint64_t offset : blob_->slot_offsets(newest + behind_newest))
      out.push_back({&medium_, offset});
    return out;
  }
  // The power goes.
  void crash_and_open(const std::vector<MetadataPlaces::Place>& spoilt, bool read_only = true) {
    pool_.reset();
    medium_.power_cut(executor_->random());
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
    std::mt19937_64 random(7);
    for (const MetadataPlaces::Place& place : spoilt) MetadataPlaces::spoil(place, random);
    settings_.read_only = read_only;
    open();
  }

  DeviceId device_ = DeviceId::none;
  uint64_t writes_ = 0;
  std::shared_ptr<Blob> blob_;
};

TEST_F(Checked, WhatIsWholeIsClean) {
  EXPECT_EQ(text(check()), "");
  EXPECT_EQ(status().devices, 2u);
  EXPECT_GT(status().ranges, device_blocks / 2);
  EXPECT_GT(status().nodes, 1u);
  EXPECT_GT(status().segments, 1u);
  EXPECT_EQ(status().verified_bytes, 0u);
  EXPECT_EQ(text(check(true)), "");
  EXPECT_GE(status().verified_bytes, device_blocks / 2 * block_size);
}

TEST_F(Checked, WhatUsersDoMeanwhileIsNoDamage) {
  std::mt19937_64 random(5);
  for (int round = 0; round < 12; ++round) {
    const uint64_t asked = ask(round % 3 == 0);
    while (status().answered < asked) {
      for (int i = 0; i < 20; ++i) write(random() % device_blocks);
      if (random() % 4 == 0) {
        std::vector<Pool::Fork> forks;
        forks.push_back({device_, "s" + std::to_string(writes_)});
        ASSERT_TRUE(wait(pool_->fork(std::move(forks), false)));
      }
      if (random() % 4 == 0) {
        ASSERT_TRUE(wait(pool_->checkpoint()));
      }
      const auto devices = pool_->list();
      if (devices.size() > 4) {
        ASSERT_TRUE(wait(pool_->remove(devices.back().name)));
      }
      ASSERT_TRUE(executor_->run_until(pause(50'000)));
    }
    EXPECT_EQ(status().ended, "done");
    ASSERT_EQ(text(pool_->check_findings()), "") << "round " << round;
  }
}

// What the newest checkpoint, or the one before it, has; of what is older nothing is known.
TEST_F(Checked, OneDamagedBlockOfAnyClassIsFound) {
  std::mt19937_64 random(3);
  std::vector<std::string> names;
  for (const auto& [name, of_class] : places().classes()) names.push_back(name);
  ASSERT_GE(names.size(), 9u);
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    const std::vector<MetadataPlaces::Place> of_class = places().classes()[name];
    if (name == "record") continue;  // of a segment that is still in memory
    // The newest is the last one of those that come again in each checkpoint.
    CheckpointNumber newest = 0;
    std::vector<MetadataPlaces::Place> chosen;
    for (const MetadataPlaces::Place& place : of_class) {
      const Buffer block = MetadataPlaces::read(place);
      if (name == "slot") {
        const auto slot = unpack_slot(block.span(), blob_->superblock().secret, blob_->id(),
                                      static_cast<uint32_t>(place.offset / block_size));
        ASSERT_TRUE(slot);
        if (slot->number > newest) chosen.clear();
        newest = std::max(newest, slot->number);
        if (slot->number < newest) continue;
      }
      if (name == "tables") {
        // Magic, version, epoch, then the checkpoint.
        uint64_t number = 0;
        std::memcpy(&number, block.data() + 16, sizeof number);
        if (number > newest) chosen.clear();
        newest = std::max(newest, number);
        if (number < newest) continue;
      }
      if (name.starts_with("header of class 1")) {
        const auto header = unpack_segment_header(block.span());
        if (header->state != SegmentState::sealed) continue;
      }
      chosen.push_back(place);
    }
    ASSERT_FALSE(chosen.empty());
    const MetadataPlaces::Place place = chosen[random() % chosen.size()];
    const Buffer good = MetadataPlaces::read(place);
    MetadataPlaces::spoil(place, random);
    EXPECT_NE(text(check()), "");
    place.medium->damage(place.offset, good.span());
    ASSERT_TRUE(wait(pool_->checkpoint()));
    ASSERT_TRUE(wait(pool_->checkpoint()));
    ASSERT_EQ(text(check()), "");
  }
}

TEST_F(Checked, DamagedDataIsFoundForAllWhoHaveItWhereDataIsAskedFor) {
  std::vector<std::byte> block(block_size);
  bool found = false;
  const uint64_t wanted = 500;  // the write that filled block 998
  for (uint64_t at = 0; at < pool_bytes && !found; at += block_size) {
    medium_.read(at, block);
    uint64_t number = 0;
    std::memcpy(&number, block.data(), sizeof number);
    if (number != wanted || block[9] != pattern(block_size, wanted & 255)[9]) continue;
    block[99] ^= std::byte{1};
    medium_.damage(at, block);
    found = true;
  }
  ASSERT_TRUE(found);
  EXPECT_EQ(text(check()), "");
  const auto findings = check(true);
  ASSERT_EQ(findings.size(), 2u) << text(findings);
  for (const CheckFinding& one : findings) EXPECT_EQ(one.rule, "B6");
  const std::string range =
      std::to_string(998 * block_size) + " to " + std::to_string(999 * block_size);
  EXPECT_NE(text(findings).find("device \"disk\""), std::string::npos) << text(findings);
  EXPECT_NE(text(findings).find("device \"snapshot\""), std::string::npos) << text(findings);
  EXPECT_NE(text(findings).find(range), std::string::npos) << text(findings);
}

// The slot of the checkpoint that was being written when the power went (A13).
TEST_F(Checked, ASlotThatACrashHasTornIsNoDamage) {
  crash_and_open(slots(1));
  EXPECT_EQ(text(check()), "");
  crash_and_open({}, false);
  EXPECT_EQ(text(check()), "");
  ASSERT_TRUE(wait(pool_->checkpoint()));
  EXPECT_EQ(text(check()), "");
}

// The newest checkpoint's was whole in one place, and in the other not yet.
TEST_F(Checked, HalfOfASlotThatNoRecordFollowsIsNoDamage) {
  crash_and_open({slots(0)[1]});
  EXPECT_EQ(text(check()), "");
}

// A record that names the checkpoint was written when both were there.
TEST_F(Checked, HalfOfASlotThatARecordFollowsIsDamage) {
  write(7);
  ASSERT_TRUE(wait(pool_->flush(device_)));
  crash_and_open({slots(0)[1]});
  EXPECT_NE(text(check()).find("A13"), std::string::npos) << text(check());
}

TEST_F(Checked, HalfOfAnOlderSlotIsDamageAfterACrashToo) {
  crash_and_open({slots(slot_ring_length - 1)[0]});
  EXPECT_NE(text(check()).find("A13"), std::string::npos) << text(check());
}

TEST_F(Checked, OneThatWasStoppedIsNotClean) {
  const uint64_t asked = ask(true);
  pool_->stop_check();
  for (int i = 0; i < 10'000 && status().answered < asked; ++i)
    ASSERT_TRUE(executor_->run_until(pause(100'000)));
  EXPECT_EQ(status().ended, "it was stopped");
}

}  // namespace
}  // namespace lamina
