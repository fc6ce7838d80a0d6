// SPDX-License-Identifier: Apache-2.0
// Block devices as disks, on a loop device; skipped where none can be made (not root, no losetup).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/buffer.h"
#include "blobs/file_disk.h"
#include "blobs/uring_loop.h"
#include "tests/unit/disk_operations.h"

namespace lamina {
namespace {

std::string output_of(const std::string& command) {
  std::string out;
  FILE* const pipe = popen((command + " 2>/dev/null").c_str(), "r");
  char piece[256];
  while (pipe != nullptr && std::fgets(piece, sizeof piece, pipe) != nullptr) out += piece;
  if (pipe != nullptr) pclose(pipe);
  while (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class ALoopDevice : public testing::Test {
 protected:
  static constexpr uint64_t size = 16 * mib;

  void SetUp() override {
    std::string pattern = "/var/tmp/lamina_device_test_XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    file_ = directory_ + "/backing";
    ASSERT_TRUE(create_disk_file(file_, size));
    path_ = output_of("losetup --direct-io=on --find --show " + file_);
    if (path_.empty()) GTEST_SKIP() << "no loop device to be had";
    auto loop = UringLoop::create({});
    ASSERT_TRUE(loop) << loop.error().message;
    loop_ = std::move(*loop);
  }
  void TearDown() override {
    if (!path_.empty()) (void)output_of("losetup -d " + path_);
    (void)output_of("rm -rf " + directory_);
  }

  std::unique_ptr<Disk> open(uint64_t offset = 0, uint64_t length = 0) {
    FileDiskOptions options;
    options.offset = offset;
    options.length = length;
    auto disk = open_file_disk(path_, options);
    if (disk) return std::move(*disk);
    refusal_ = disk.error();
    return nullptr;
  }
  uint64_t allocated() const {
    struct stat about {};
    EXPECT_EQ(stat(file_.c_str(), &about), 0);
    return static_cast<uint64_t>(about.st_blocks) * 512;
  }

  std::string directory_, file_, path_;
  Error refusal_;
  std::unique_ptr<UringLoop> loop_;
};

Task<Result<>> write_and_flush(Disk& disk, uint64_t offset, const Buffer& from) {
  IoBatch batch;
  batch.write(disk, offset, from.span());
  co_await batch;
  IoBatch after;
  after.flush(disk);
  co_await after;
  co_return batch.ok() ? after.result() : batch.result();
}

Task<Result<>> discard_and_prepare(Disk& disk, uint64_t offset, uint64_t length) {
  IoBatch batch;
  batch.discard(disk, offset, length);
  const bool under_way = !batch.await_ready();
  EXPECT_TRUE(under_way);
  co_await batch;
  batch.prepare(disk, offset, length);
  co_await batch;
  co_return batch.result();
}

TEST_F(ALoopDevice, ReadsWhatWasWritten) {
  const auto disk = open();
  ASSERT_NE(disk, nullptr) << refusal_.message;
  EXPECT_EQ(disk->size(), size);
  EXPECT_TRUE(disk->traits().block_device);
  Buffer data(mib), found(mib);
  std::memset(data.data(), 5, data.size());
  ASSERT_TRUE(loop_->run_until(write_and_flush(*disk, mib, data)));
  ASSERT_TRUE(loop_->run_until(read(*disk, mib, found)));
  EXPECT_EQ(std::memcmp(found.data(), data.data(), mib), 0);
}

TEST_F(ALoopDevice, DiscardReachesTheDeviceAndPrepareAllocatesNothing) {
  const auto disk = open();
  ASSERT_NE(disk, nullptr) << refusal_.message;
  if (disk->traits().discard_granularity == 0) GTEST_SKIP() << "this one cannot discard";
  Buffer data(4 * mib);
  std::memset(data.data(), 5, data.size());
  ASSERT_TRUE(loop_->run_until(write_and_flush(*disk, 0, data)));
  EXPECT_GE(allocated(), 4 * mib);
  ASSERT_TRUE(loop_->run_until(discard_and_prepare(*disk, 0, 4 * mib)));
  EXPECT_LE(allocated(), mib);
}

TEST_F(ALoopDevice, IsRefusedWhileSomethingHoldsItExclusivelyAsAMountDoes) {
  const int holder = ::open(path_.c_str(), O_RDONLY | O_EXCL);
  ASSERT_GE(holder, 0);
  EXPECT_EQ(open(), nullptr);
  EXPECT_EQ(refusal_.code, Code::busy);
  EXPECT_NE(refusal_.message.find(path_ + ": is mounted"), std::string::npos);
  EXPECT_NE(refusal_.message.find("lsblk"), std::string::npos);
  close(holder);
  EXPECT_NE(open(), nullptr);
}

TEST_F(ALoopDevice, IsRefusedToAnotherProcessUntilItsOwnerIsGone) {
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto disk = open_file_disk(path_, {});
    const char answer = disk ? 'y' : 'n';
    if (::write(pipe_fds[1], &answer, 1) != 1) _exit(1);
    for (;;) pause();
  }
  char answer = 0;
  ASSERT_EQ(::read(pipe_fds[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  EXPECT_EQ(open(), nullptr);
  EXPECT_EQ(refusal_.code, Code::busy);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_NE(open(), nullptr);
  close(pipe_fds[0]);
  close(pipe_fds[1]);
}

TEST_F(ALoopDevice, ServesPartsToOneProcessIfTheyDoNotOverlap) {
  {
    const auto one = open(0, 8 * mib), other = open(8 * mib, 0);
    ASSERT_NE(one, nullptr);
    ASSERT_NE(other, nullptr) << refusal_.message;
    EXPECT_EQ(other->size(), 8 * mib);
    EXPECT_EQ(open(4 * mib, 8 * mib), nullptr);
    EXPECT_EQ(refusal_.code, Code::busy);
    EXPECT_EQ(::open(path_.c_str(), O_RDONLY | O_EXCL), -1);
  }
  EXPECT_NE(open(4 * mib, 8 * mib), nullptr);
}

TEST_F(ALoopDevice, AdoptsASizeThatGrew) {
  const auto disk = open();
  ASSERT_NE(disk, nullptr) << refusal_.message;
  ASSERT_EQ(truncate(file_.c_str(), 2 * size), 0);
  (void)output_of("losetup -c " + path_);
  EXPECT_EQ(disk->refresh_size().value(), 2 * size);
}

}  // namespace
}  // namespace lamina
