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
