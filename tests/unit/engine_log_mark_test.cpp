// SPDX-License-Identifier: Apache-2.0
// Records at the log's end that are gone although they were durable, and nothing behind them: the
// mark outside the log says so (B5).
#include <gtest/gtest.h>

#include "blobs/log_mark.h"
#include "engine/repair/repair.h"
#include "engine_log_damage_fixture.h"

namespace lamina {
namespace {

class AMarkedLog : public ALogOfFlushedWrites {
 protected:
  void SetUp() override {
    ALogOfFlushedWrites::SetUp();
    open(medium_);
    for (size_t i = 0; i < newer; ++i) put(i);
    // The timer writes the mark.
    ASSERT_TRUE(executor_->run_until(pause(4'000'000'000)));
    const Sequence last = mark().durable_through;
    EXPECT_GE(last, newer);
    put(newer);
    kill(medium_);
    EXPECT_GE(mark().durable_through, last);
  }
  void kill(SimMedium& medium) {
    pool_.reset();
    medium.process_killed(executor_->random());
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
  }
  void put(size_t i) {
    ASSERT_TRUE(wait(pool_->write(device_, i * block_size, newer_content(i))));
    ASSERT_TRUE(wait(pool_->flush(device_)));
  }
  std::vector<std::byte> newer_content(size_t i) {
    return pattern(block_size, static_cast<uint8_t>(i + 101));
  }
  LogMark mark() {
    const auto blob = blob_on(medium_, *executor_);
    Buffer block(block_size);
    LogMark newest;
    for (const uint64_t at : blob->log_mark_offsets()) {
      medium_.read(at, block.span());
      const auto found = unpack_log_mark(block.span(), blob->superblock().secret, blob->id(),
                                         static_cast<uint32_t>(at / block_size));
      if (found && found->durable_through > newest.durable_through) newest = *found;
    }
    return newest;
  }
  // All of this life.
  void destroy_records(SimMedium& medium) {
    const Epoch epoch = mark().epoch;
    const std::vector<std::byte> nothing(block_size);
    for (const Record& record : records_on(medium))
      if (record.epoch == epoch) medium.damage(record.at, nothing);
  }
  static constexpr size_t newer = 5;
};

TEST_F(AMarkedLog, IsNotTakenToEndBeforeTheMark) {
  const auto medium = medium_.clone();
  destroy_records(*medium);
  const auto opened = open_without(*medium, {});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::corrupt) << opened.error().message;
}

// No other repeats the last one, which is the witness of the others.
TEST_F(AMarkedLog, DoesWithoutItsLastRecord) {
  open(medium_);
  put(newer + 1);
  ASSERT_TRUE(executor_->run_until(pause(4'000'000'000)));
  kill(medium_);
  const Record last = records_on(medium_).back();
  EXPECT_EQ(mark().durable_through + 1, last.first);
  medium_.damage(last.at, std::vector<std::byte>(block_size));
  open(medium_);
  for (size_t i = 0; i <= newer + 1; ++i) expect_content(device_, i * block_size, newer_content(i));
}

// A snapshot and a copy are in no data: of their records nothing is left.
TEST_F(AMarkedLog, TellsOfWhatIsInNoData) {
  open(medium_);
  const DeviceId other = wait(pool_->create("other", 64 * block_size, {}))->id;
  std::vector<Pool::Fork> forks{{device_, "snap"}};
  ASSERT_TRUE(wait(pool_->fork(std::move(forks), true)));
  ASSERT_TRUE(wait(pool_->copy(device_, 0, other, 8 * block_size, 50 * block_size)));
  ASSERT_TRUE(wait(pool_->resize(other, 100 * block_size)));
  put(60);
  ASSERT_TRUE(executor_->run_until(pause(4'000'000'000)));
  kill(medium_);
  EXPECT_GE(mark().repeated.size(), 4u);
  destroy_records(medium_);
  // The second one knows it from segments alone.
  for (const bool again : {false, true}) {
    SCOPED_TRACE(again);
    const auto repaired = wait(repair(blobs_on(medium_, *executor_, false), {}, true));
    ASSERT_TRUE(repaired) << repaired.error().message;
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
    open(medium_);
    const auto snap = pool_->find("snap"), copies = pool_->find("other");
    ASSERT_TRUE(snap && copies);
    EXPECT_TRUE(snap->read_only);
    EXPECT_EQ(copies->size_bytes, 100 * block_size);
    expect_content(snap->id, 60 * block_size, content(60));
    for (size_t i = 0; i < 50; ++i) {
      const auto& wanted = i <= newer ? newer_content(i) : content(i);
      expect_content(snap->id, i * block_size, wanted);
      expect_content(copies->id, (8 + i) * block_size, wanted);
    }
    ASSERT_TRUE(wait(pool_->close()));
    kill(medium_);
    const std::vector<std::byte> nothing(block_size);
    const auto blob = blob_on(medium_, *executor_);
    for (const uint64_t at : blob->log_mark_offsets()) medium_.damage(at, nothing);
  }
}

// What was made and is known by its writes alone: its map is nobody else's.
TEST_F(AMarkedLog, NeverUsesAMapAgain) {
  open(medium_);
  ASSERT_TRUE(wait(pool_->checkpoint()));
  const size_t before = records_on(medium_).size();
  const DeviceId lost = wait(pool_->create("lost", 64 * block_size, {}))->id;
  for (size_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(wait(pool_->write(lost, i * block_size, content(i))));
    ASSERT_TRUE(wait(pool_->flush(lost)));
  }
  kill(medium_);
  const std::vector<std::byte> nothing(block_size);
  const std::vector<Record> records = records_on(medium_);
  for (size_t i = before; i < before + 2; ++i) medium_.damage(records[i].at, nothing);
  const auto blob = blob_on(medium_, *executor_);
  for (const uint64_t at : blob->log_mark_offsets()) medium_.damage(at, nothing);
  const auto repair_again = [&] {
    const auto repaired = wait(repair(blobs_on(medium_, *executor_, false), {}, true));
    ASSERT_TRUE(repaired) << repaired.error().message;
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
    open(medium_);
  };
  repair_again();
  ASSERT_FALSE(pool_->find("lost"));
  const DeviceId fresh = wait(pool_->create("fresh", 64 * block_size, {}))->id;
  ASSERT_TRUE(wait(pool_->close()));
  kill(medium_);
  repair_again();
  for (size_t i = 0; i < 4; ++i)
    expect_content(fresh, i * block_size, std::vector<std::byte>(block_size));
}

// What it has no room for is in a checkpoint soon.
TEST_F(AMarkedLog, AsksForACheckpointOfWhatItHasNoRoomFor) {
  open(medium_);
  ASSERT_TRUE(wait(pool_->checkpoint()));
  const uint64_t before = pool_->status().checkpoint;
  constexpr size_t many = 120;
  for (size_t i = 0; i < many; ++i)
    ASSERT_TRUE(wait(pool_->create("a device with a longer name " + std::to_string(i), 0, {})));
  ASSERT_TRUE(wait(pool_->flush(device_)));
  ASSERT_TRUE(executor_->run_until(pause(2'000'000'000)));
  EXPECT_EQ(pool_->status().checkpoint, before);
  EXPECT_LT(mark().repeated.size(), many);
  ASSERT_TRUE(executor_->run_until(pause(15'000'000'000)));
  EXPECT_GT(pool_->status().checkpoint, before);
  // And then there is room again.
  ASSERT_TRUE(wait(pool_->create("the last", 0, {})));
  ASSERT_TRUE(executor_->run_until(pause(4'000'000'000)));
  EXPECT_EQ(mark().repeated.back().name, "the last");
}

TEST_F(AMarkedLog, IsInDoubtUpToTheMark) {
  const auto medium = medium_.clone();
  destroy_records(*medium);
  const auto repaired = wait(repair(blobs_on(*medium, *executor_, false), {}, false));
  ASSERT_TRUE(repaired) << repaired.error().message;
  EXPECT_GE(repaired->missing_entries, newer);
  executor_ = std::make_unique<SimExecutor>(executor_->steps());
  // The mark is of what the repair has ended; the next one is of what came then.
  for (const bool again : {false, true}) {
    SCOPED_TRACE(again);
    open(*medium);
    for (size_t i = 0; i < newer; ++i) {
      std::vector<std::byte> got(block_size);
      const auto read = wait(pool_->read(device_, i * block_size, got));
      EXPECT_EQ(read.has_value(), again) << i;
      EXPECT_TRUE(!read || got == newer_content(i)) << i;
    }
    for (size_t i = 0; i < newer; ++i) put(i);
    ASSERT_TRUE(executor_->run_until(pause(4'000'000'000)));
    kill(*medium);
  }
}

// What is damaged of it says nothing, and is no reason not to open.
TEST_F(AMarkedLog, OpensWithoutAnyMark) {
  const auto medium = medium_.clone();
  const std::vector<std::byte> ones(block_size, std::byte{0xff});
  const auto blob = blob_on(*medium, *executor_);
  for (const uint64_t at : blob->log_mark_offsets()) medium->damage(at, ones);
  open(*medium);
  for (size_t i = 0; i <= newer; ++i) expect_content(device_, i * block_size, newer_content(i));
}

}  // namespace
}  // namespace lamina
