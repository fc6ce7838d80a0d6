// SPDX-License-Identifier: Apache-2.0
// A pool on a simulated disk of 64 MiB, for tests of the engine's face.
// Thread-safety: none.
#pragma once

#include <gtest/gtest.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#endif

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "blobs/sim_disk.h"
#include "engine/pool.h"

namespace lamina {

inline constexpr uint64_t pool_bytes = 64 * mib;

// The blob that the disk holds; nothing, where it holds none.
inline std::shared_ptr<Blob> blob_on(SimMedium& medium, SimExecutor& executor) {
  std::shared_ptr<Disk> disk = open_sim_disk(medium, executor);
  Result<Blob::Found> found;
  EXPECT_TRUE(executor.run_until(Blob::find(*disk), found));
  return found ? std::make_shared<Blob>(std::move(disk), found->superblock) : nullptr;
}

inline Blobs blobs_on(SimMedium& medium, SimExecutor& executor, bool fresh) {
  if (!fresh) return {blob_on(medium, executor)};
  std::shared_ptr<Disk> disk = open_sim_disk(medium, executor);
  Superblock superblock;
  superblock.blob = BlobId{0};
  superblock.pool_name = "test";
  superblock.blob_name = "journal";
  superblock.secret[3] = std::byte{7};
  superblock.pool[0] = std::byte{1};
  auto geometry = Blob::plan(disk->size(), 0, 0);
  EXPECT_TRUE(geometry);
  geometry->write_to(superblock);
  return {std::make_shared<Blob>(std::move(disk), superblock)};
}

// One more of a pool that is to be made, on a disk as large as the first's.
inline void add_fresh_blob(Blobs& blobs, SimMedium& medium, SimExecutor& executor,
                           const std::string& name, BlobKind kind, uint32_t tier) {
  Superblock superblock = blobs[0]->superblock();
  superblock.blob = BlobId{static_cast<uint16_t>(blobs.size())};
  superblock.blob_uuid[0] = static_cast<std::byte>(blobs.size());
  superblock.blob_name = name;
  superblock.kind = kind;
  superblock.tier = tier;
  blobs.push_back(std::make_shared<Blob>(open_sim_disk(medium, executor), superblock));
}

// While it lives, what is allocated is no leak: what a crash abandons, or the end of a test in the
// midst of something, is not freed on purpose.
#if defined(__SANITIZE_ADDRESS__)
using Abandons = __lsan::ScopedDisabler;
#else
struct Abandons {
  ~Abandons() {}  // else it would be unused
};
#endif

class PoolOnSimulatedDisk : public testing::Test {
  const Abandons abandons_{};

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
    auto blobs = blobs_on(medium_, *executor_, false);
    disk_ = &blobs[0]->disk();
    Settings settings = settings_;
    settings.log = [this](Settings::Severity severity, const std::string& what) {
      if (severity != Settings::Severity::info) told_.push_back(what);
    };
    auto opened = wait(Pool::open(std::move(blobs), settings));
    ASSERT_TRUE(opened) << opened.error().message;
    pool_ = std::move(*opened);
  }
  void remount() {
    auto closed = wait(pool_->close());
    ASSERT_TRUE(closed) << closed.error().message;
    pool_.reset();
    open();
  }
  void crash() {
    pool_.reset();
    medium_.power_cut(executor_->random());
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
    open();
  }
  void wait_until(const std::function<bool()>& so) {
    for (int i = 0; i < 10'000 && !so(); ++i)
      ASSERT_TRUE(executor_->run_until([]() -> Task<void> { co_await Sleep{1'000'000}; }()));
    ASSERT_TRUE(so());
  }
  void ask_to_scrub() {
    const auto asking = [](Pool& pool) -> Task<Result<>> { co_return pool.ask_scrub(); };
    ASSERT_TRUE(wait(asking(*pool_)));
  }
  void scrub() {
    ask_to_scrub();
    const uint64_t asked = pool_->status().scrub.asked;
    wait_until([&] { return pool_->status().scrub.answered >= asked; });
  }
  std::vector<std::byte> pattern(size_t bytes, uint8_t seed) {
    std::vector<std::byte> data(bytes);
    constexpr size_t period = 7 * 256;  // after which it begins again
    for (size_t i = 0; i < std::min(bytes, period); ++i)
      data[i] = static_cast<std::byte>(i / 7 * 31 + seed + i);
    for (size_t at = period; at < bytes; at += period)
      std::memcpy(data.data() + at, data.data(), std::min(period, bytes - at));
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
  Settings settings_;  // that it is opened with
  SimMedium medium_{"disk", pool_bytes};
  Disk* disk_ = nullptr;           // the open pool's
  std::vector<std::string> told_;  // what a person should see
  std::unique_ptr<Pool> pool_;
};

}  // namespace lamina
