// SPDX-License-Identifier: Apache-2.0
// A pool that lost its power after many small writes, each flushed, so that each has a record of
// its own; and those records, for a test to destroy. Thread-safety: none.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "base/endian.h"
#include "engine_pool_fixture.h"

namespace lamina {

template <class Le>
auto little_endian(const Buffer& block, size_t offset) {
  Le value;
  std::memcpy(value.bytes.data(), block.data() + offset, sizeof value);
  return value.load();
}

class ALogOfFlushedWrites : public PoolOnSimulatedDisk {
 protected:
  static constexpr size_t writes = 260;

  struct Record {
    uint64_t at = 0;  // on the disk
    uint32_t generation = 0, block = 0;
    uint64_t first = 0;
    Epoch epoch = 0;
  };

  void SetUp() override {
    PoolOnSimulatedDisk::SetUp();
    device_ = wait(pool_->create("vm1", writes * block_size, {}))->id;
    ASSERT_TRUE(wait(pool_->sync()));
    for (size_t i = 0; i < writes; ++i) {
      ASSERT_TRUE(wait(pool_->write(device_, i * block_size, content(i))));
      ASSERT_TRUE(wait(pool_->flush(device_)));
    }
    find_records();
    pool_.reset();
    medium_.power_cut(executor_->random());
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
  }
  std::vector<std::byte> content(size_t i) { return pattern(block_size, static_cast<uint8_t>(i)); }

  // All that lie there, in order.
  static std::vector<Record> records_on(const SimMedium& medium) {
    std::vector<Record> records;
    Buffer block(block_size);
    for (uint64_t at = 0; at < pool_bytes; at += block_size) {
      medium.read(at, block.span());
      if (std::memcmp(block.data(), "LAMINARC", 8) != 0) continue;
      records.push_back({at, little_endian<le32>(block, 20), little_endian<le32>(block, 24),
                         little_endian<le64>(block, 128), little_endian<le32>(block, 12)});
    }
    std::ranges::sort(records, {}, &Record::first);
    return records;
  }

  // Those of the writes, in order.
  void find_records() {
    records_ = records_on(medium_);
    ASSERT_GE(records_.size(), writes);
    records_.erase(records_.begin(), records_.end() - writes);
    ASSERT_GE(records_.back().generation, records_.front().generation + 7);
  }

  void open(SimMedium& medium) {
    auto opened = wait(Pool::open(blobs_on(medium, *executor_, false), settings_));
    ASSERT_TRUE(opened) << opened.error().message;
    pool_ = std::move(*opened);
  }
  // Whether the pool opens without these records.
  Result<std::unique_ptr<Pool>> open_without(SimMedium& medium, std::span<const Record> lost) {
    const std::vector<std::byte> nothing(block_size);
    for (const Record& record : lost) medium.damage(record.at, nothing);
    return wait(Pool::open(blobs_on(medium, *executor_, false), {}));
  }

  Buffer header_of(const Record& record) const {
    Buffer header(block_size);
    medium_.read(record.at - uint64_t{record.block} * block_size, header.span());
    return header;
  }
  uint32_t segment_blocks(const Record& record) const {
    return little_endian<le32>(header_of(record), 56);
  }
  bool is_sealed(const Record& record) const {
    return header_of(record).data()[71] == std::byte{2};
  }
  void expect_all_written() {
    for (size_t i = 0; i < writes; ++i) expect_content(device_, i * block_size, content(i));
  }

  static Task<void> pause(uint64_t ns) { co_await Sleep{ns}; }

  DeviceId device_ = DeviceId::none;
  std::vector<Record> records_;
};

}  // namespace lamina
