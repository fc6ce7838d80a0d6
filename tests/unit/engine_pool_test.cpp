// SPDX-License-Identifier: Apache-2.0
// A pool on a simulated disk: what is written is read, now and after a remount.
#include <gtest/gtest.h>

#include <cstring>

#include "base/buffer.h"
#include "blobs/segment.h"
#include "blobs/sim_disk.h"
#include "blobs/summary.h"
#include "engine/pool.h"

namespace lamina {
namespace {

constexpr uint64_t pool_bytes = 64 * mib;

std::vector<std::unique_ptr<JournalBlob>> blobs_on(SimMedium& medium, SimExecutor& executor,
                                                   bool fresh) {
  std::shared_ptr<Disk> disk = open_sim_disk(medium, executor);
  std::vector<std::unique_ptr<JournalBlob>> blobs;
  if (fresh) {
    Superblock superblock;
    superblock.blob = BlobId{0};
    superblock.pool_name = "test";
    superblock.blob_name = "journal";
    superblock.secret[3] = std::byte{7};
    superblock.pool[0] = std::byte{1};
    auto geometry = JournalBlob::plan(disk->size(), 0, 0);
    EXPECT_TRUE(geometry);
    superblock.size = disk->size();
    superblock.segment_blocks = geometry->segment_blocks;
    superblock.segment_count = geometry->segment_count;
    superblock.erase_bytes = geometry->erase_bytes;
    superblock.middle = geometry->middle;
    blobs.push_back(std::make_unique<JournalBlob>(disk, superblock));
    return blobs;
  }
  Result<JournalBlob::Found> found;
  EXPECT_TRUE(executor.run_until(JournalBlob::find(*disk), found));
  blobs.push_back(std::make_unique<JournalBlob>(disk, found->superblock));
  return blobs;
}

class PoolOnSimulatedDisk : public testing::Test {
 protected:
  template <class T>
  T wait(Task<T> task) {
    T out{};
    EXPECT_TRUE(executor_->run_until(std::move(task), out));
    return out;
  }
  void SetUp() override {
    auto blobs = blobs_on(medium_, *executor_, true);
    auto made = wait(Pool::format(blobs, {}));
    ASSERT_TRUE(made) << made.error().message;
    open();
  }
  void open() {
    auto opened = wait(Pool::open(blobs_on(medium_, *executor_, false), {}));
    ASSERT_TRUE(opened) << opened.error().message;
    pool_ = std::move(*opened);
  }
  void remount() {
    auto closed = wait(pool_->close());
    ASSERT_TRUE(closed) << closed.error().message;
    pool_.reset();
    open();
  }
  std::vector<std::byte> pattern(size_t bytes, uint8_t seed) {
    std::vector<std::byte> data(bytes);
    for (size_t i = 0; i < bytes; ++i) data[i] = static_cast<std::byte>(i / 7 * 31 + seed + i);
    return data;
  }
  void expect_content(DeviceId id, uint64_t offset, const std::vector<std::byte>& expected) {
    std::vector<std::byte> got(expected.size());
    auto read = wait(pool_->read(id, offset, got));
    ASSERT_TRUE(read) << read.error().message;
    ASSERT_EQ(*read, expected.size());
    EXPECT_EQ(0, std::memcmp(got.data(), expected.data(), got.size()));
  }

  std::unique_ptr<SimExecutor> executor_ = std::make_unique<SimExecutor>(1);
  SimMedium medium_{"disk", pool_bytes};
  std::unique_ptr<Pool> pool_;
};

TEST_F(PoolOnSimulatedDisk, WhatWasWrittenIsReadAtOnceAndAfterARemount) {
  auto device = wait(pool_->create("vm1", 16 * mib, {}));
  ASSERT_TRUE(device) << device.error().message;
  const auto data = pattern(3 * mib + 1234, 1);
  auto written = wait(pool_->write(device->id, 4321, data));
  ASSERT_TRUE(written) << written.error().message;
  expect_content(device->id, 4321, data);
  auto flushed = wait(pool_->flush(device->id));
  ASSERT_TRUE(flushed);
  remount();
  auto found = pool_->find("vm1");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->size_bytes, 16 * mib);
  expect_content(found->id, 4321, data);
  auto checkpointed = wait(pool_->checkpoint());
  ASSERT_TRUE(checkpointed);
  expect_content(found->id, 4321, data);
}

TEST_F(PoolOnSimulatedDisk, OverwritingForEverFillsNothing) {
  auto device = wait(pool_->create("vm1", 24 * mib, {}));
  ASSERT_TRUE(device);
  std::vector<uint8_t> versions(24 * mib / block_size);
  for (int i = 0; i < 40000; ++i) {  // two and a half times the pool
    const uint64_t block = executor_->random()() % versions.size();
    const auto data = pattern(block_size, ++versions[block]);
    auto written = wait(pool_->write(device->id, block * block_size, data));
    ASSERT_TRUE(written) << i << ": " << written.error().message;
  }
  remount();
  for (size_t block = 0; block < versions.size(); ++block)
    if (versions[block])
      expect_content(device->id, block * block_size, pattern(block_size, versions[block]));
}

// What nobody can see is no data: shrinking, zeroing and overwriting up to the end take it along.
TEST_F(PoolOnSimulatedDisk, BytesBehindTheEndDoNotMakeABlockData) {
  const auto device = wait(pool_->create("vm1", 0, {}));
  ASSERT_TRUE(device);
  const auto mapped = [&] {
    const auto ranges = wait(pool_->map(device->id, DeviceBlock{0}, 100));
    uint64_t blocks = 0;
    for (const MappedRange& range : *ranges)
      if (range.state == RangeState::data) blocks += range.range.length().value;
    return blocks;
  };
  const std::vector<std::byte> byte(1, std::byte{7}), zero(1);
  ASSERT_TRUE(wait(pool_->write(device->id, 4095, byte)));
  EXPECT_EQ(mapped(), 1U);
  ASSERT_TRUE(wait(pool_->resize(device->id, 4095)));
  EXPECT_EQ(mapped(), 0U);

  ASSERT_TRUE(wait(pool_->write(device->id, 4000, byte)));
  ASSERT_TRUE(wait(pool_->write(device->id, 4090, byte)));
  ASSERT_TRUE(wait(pool_->resize(device->id, 4001)));  // the other one is behind the end now
  EXPECT_EQ(mapped(), 1U);
  ASSERT_TRUE(wait(pool_->write(device->id, 4000, zero)));
  EXPECT_EQ(mapped(), 0U);

  ASSERT_TRUE(wait(pool_->write(device->id, 4000, byte)));
  ASSERT_TRUE(wait(pool_->write(device->id, 4090, byte)));
  ASSERT_TRUE(wait(pool_->resize(device->id, 4001)));
  ASSERT_TRUE(wait(pool_->erase(device->id, 3999, 2)));
  EXPECT_EQ(mapped(), 0U);
}

// D10, D5: each crash while it opens abandons what the log had named; a full pool has nothing to
// spare for that.
TEST_F(PoolOnSimulatedDisk, AFullPoolOpensAfterAnyNumberOfCrashesWhileItOpened) {
  auto device = wait(pool_->create("vm1", 64 * mib, {}));
  ASSERT_TRUE(device);
  for (uint64_t at = 0;; at += 256 * kib) {
    auto written = wait(pool_->write(device->id, at, pattern(256 * kib, 1)));
    if (written) continue;
    ASSERT_EQ(written.error().code, Code::no_space);
    break;
  }
  auto second = wait(pool_->create("vm1", 1 * mib, {}));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::exists);
  std::mt19937_64 random(1);
  for (uint64_t life = 0; life < 200; ++life) {
    pool_.reset();
    medium_.power_cut(random);
    executor_ = std::make_unique<SimExecutor>(life);
    auto blobs = blobs_on(medium_, *executor_, false);
    if (life % 8 != 0) executor_->crash_after(1 + random() % 60);
    Result<std::unique_ptr<Pool>> opened;
    if (!executor_->run_until(Pool::open(std::move(blobs), {}), opened)) continue;
    ASSERT_TRUE(opened) << life << ": " << opened.error().message;
    pool_ = std::move(*opened);
  }
  pool_.reset();
  medium_.power_cut(random);
  executor_ = std::make_unique<SimExecutor>(1);
  open();
  auto erased = wait(pool_->erase(device->id, 0, 32 * mib));
  ASSERT_TRUE(erased) << erased.error().message;
  ASSERT_TRUE(wait(pool_->checkpoint()));
  EXPECT_TRUE(wait(pool_->write(device->id, 0, pattern(1 * mib, 2))));
}

// Both copies of a node lie in segments that are sealed together: a power cut that tore two headers
// just written again would hide them from everybody who looks for them by scanning (B3).
TEST_F(PoolOnSimulatedDisk, SealingNodesLeavesTheirSegmentsHeadersAlone) {
  const auto device = wait(pool_->create("vm1", 1 * mib, {}));
  SimExecutor nobody(0);
  SimMedium alike("alike", pool_bytes);  // for where segments lie
  const auto blobs = blobs_on(alike, nobody, true);
  int sealed = 0;
  for (int i = 0; i < 150 && sealed < 2; ++i) {  // as many nodes, and the tables with each
    ASSERT_TRUE(wait(pool_->write(device->id, 0, pattern(block_size, static_cast<uint8_t>(i)))));
    ASSERT_TRUE(wait(pool_->checkpoint()));
    sealed = 0;
    for (uint32_t index = 0; index < blobs[0]->segment_count(); ++index) {
      Buffer block(block_size);
      medium_.read(blobs[0]->offset(index, 0), block.span());
      const auto header = unpack_segment_header(block.span());
      if (!header || header->kind != SegmentClass::nodes || header->state == SegmentState::retired)
        continue;
      EXPECT_EQ(header->state, SegmentState::open);
      const uint32_t last = header->blocks - 1;
      medium_.read(blobs[0]->offset(index, last), block.span());
      if (back_summary_blocks(block.span(), header->secret,
                              {header->blob, index, header->generation, last}))
        ++sealed;
    }
  }
  EXPECT_GE(sealed, 2);
}

}  // namespace
}  // namespace lamina
