// SPDX-License-Identifier: Apache-2.0
// Files as disks: what is written is read back, one opener at a time, and truncation is an error.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "blobs/file_disk.h"
#include "blobs/uring_loop.h"
#include "tests/unit/disk_operations.h"

namespace lamina {
namespace {

// A directory of its own, and the disk's file in it. /var/tmp, because /tmp may have no direct I/O.
class ADiskFile : public testing::Test {
 protected:
  static constexpr uint64_t size = 8 * mib;

  void SetUp() override {
    std::string pattern = "/var/tmp/lamina_disk_test_XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    path_ = directory_ + "/disk";
    const auto made = create_disk_file(path_, size);
    ASSERT_TRUE(made) << made.error().message;
    auto loop = UringLoop::create({});
    ASSERT_TRUE(loop) << loop.error().message;
    loop_ = std::move(*loop);
  }
  void TearDown() override {
    const std::string remove = "rm -rf " + directory_;
    EXPECT_EQ(std::system(remove.c_str()), 0);
  }

  std::unique_ptr<Disk> open(const FileDiskOptions& options = {}) {
    auto disk = open_file_disk(path_, options);
    EXPECT_TRUE(disk) << disk.error().message;
    return disk ? std::move(*disk) : nullptr;
  }
  Code refusal(const FileDiskOptions& options = {}) {
    const auto disk = open_file_disk(path_, options);
    EXPECT_FALSE(disk);
    if (disk) return Code::invalid;
    EXPECT_NE(disk.error().message.find(path_), std::string::npos);
    message_ = disk.error().message;
    return disk.error().code;
  }
  uint64_t allocated() const {
    struct stat about {};
    EXPECT_EQ(stat(path_.c_str(), &about), 0);
    return static_cast<uint64_t>(about.st_blocks) * 512;
  }

  std::string directory_, path_, message_;
  std::unique_ptr<UringLoop> loop_;
};

Task<Result<>> prepare(Disk& disk, uint64_t offset, uint64_t length) {
  IoBatch batch;
  batch.prepare(disk, offset, length);
  co_await batch;
  co_return batch.result();
}

TEST_F(ADiskFile, ReadsWhatWasWrittenAlsoAfterReopening) {
  auto disk = open();
  EXPECT_EQ(disk->size(), size);
  EXPECT_EQ(disk->name(), path_);
  const Buffer data = filled(mib, 5);
  ASSERT_TRUE(loop_->run_until(write(*disk, mib, data)));
  ASSERT_TRUE(loop_->run_until(flush(*disk)));
  ASSERT_TRUE(loop_->run_until(write_through(*disk, 2 * mib, data)));
  disk.reset();
  disk = open();
  Buffer found(4 * mib);
  ASSERT_TRUE(loop_->run_until(read(*disk, 0, found)));
  EXPECT_TRUE(all_zero(found.span().first(mib)));
  EXPECT_EQ(std::memcmp(found.data() + mib, data.data(), mib), 0);
  EXPECT_EQ(std::memcmp(found.data() + 2 * mib, data.data(), mib), 0);
  EXPECT_TRUE(all_zero(found.span().subspan(3 * mib)));
}

Task<Result<>> write_all(Disk& disk, const std::vector<Buffer>& blocks) {
  IoBatch batch;
  for (size_t i = 0; i < blocks.size(); ++i) batch.write(disk, i * block_size, blocks[i].span());
  co_await batch;
  co_return batch.result();
}

TEST_F(ADiskFile, CompletesAWholeBatch) {
  const auto disk = open();
  std::vector<Buffer> blocks;
  for (int i = 0; i < 200; ++i) blocks.push_back(filled(block_size, i));
  ASSERT_TRUE(loop_->run_until(write_all(*disk, blocks)));
  Buffer found(200 * block_size);
  ASSERT_TRUE(loop_->run_until(read(*disk, 0, found)));
  for (size_t i = 0; i < blocks.size(); ++i)
    EXPECT_EQ(std::memcmp(found.data() + i * block_size, blocks[i].data(), block_size), 0);
}

TEST_F(ADiskFile, IsRefusedToASecondOpenerUntilTheFirstCloses) {
  auto disk = open();
  EXPECT_EQ(refusal(), Code::busy);
  EXPECT_NE(message_.find("fuser"), std::string::npos);
  FileDiskOptions reader;
  reader.read_only = true;
  EXPECT_EQ(refusal(reader), Code::busy);
  disk.reset();
  EXPECT_NE(open(), nullptr);
}

TEST_F(ADiskFile, IsSharedByReaders) {
  FileDiskOptions reader;
  reader.read_only = true;
  const auto one = open(reader), other = open(reader);
  EXPECT_EQ(refusal(), Code::busy);
}

TEST_F(ADiskFile, IsReleasedWhenItsOwnerIsKilled) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto disk = open_file_disk(path_, {});
    const char answer = disk ? 'y' : 'n';
    if (::write(ready[1], &answer, 1) != 1) _exit(1);
    for (;;) pause();
  }
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  EXPECT_EQ(refusal(), Code::busy);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_NE(open(), nullptr);
  close(ready[0]);
  close(ready[1]);
}

FileDiskOptions part(uint64_t offset, uint64_t length) {
  FileDiskOptions options;
  options.offset = offset;
  options.length = length;
  return options;
}

TEST_F(ADiskFile, HasPartsThatAreUsedAtOnceIfTheyDoNotOverlap) {
  const auto one = open(part(0, mib)), other = open(part(mib, mib)), rest = open(part(4 * mib, 0));
  EXPECT_EQ(one->size(), mib);
  EXPECT_EQ(rest->size(), 4 * mib);
  EXPECT_EQ(refusal(part(mib - 4096, 8192)), Code::busy);
  EXPECT_EQ(refusal(part(6 * mib, mib)), Code::busy);
  EXPECT_EQ(refusal(), Code::busy);
  const Buffer data = filled(block_size, 7);
  ASSERT_TRUE(loop_->run_until(write(*other, 4096, data)));
  Buffer found(block_size);
  ASSERT_TRUE(loop_->run_until(read(*one, 4096, found)));
  EXPECT_TRUE(all_zero(found.span()));
  std::vector<char> raw(block_size);
  const int fd = ::open(path_.c_str(), O_RDONLY);
  EXPECT_EQ(pread(fd, raw.data(), raw.size(), mib + 4096), block_size);
  EXPECT_EQ(raw[0], 7);
  close(fd);
}

TEST_F(ADiskFile, AsAWholeIsRefusedWhileAPartIsUsed) {
  const auto one = open(part(mib, mib));
  EXPECT_EQ(refusal(), Code::busy);
}

TEST_F(ADiskFile, RefusesPartsThatAreNone) {
  EXPECT_EQ(refusal(part(100, 0)), Code::invalid);
  EXPECT_EQ(refusal(part(0, 100)), Code::invalid);
  EXPECT_EQ(refusal(part(size, 0)), Code::invalid);
  EXPECT_EQ(refusal(part(mib, size)), Code::invalid);
  EXPECT_EQ(refusal(part(UINT64_MAX - 4095, 8192)), Code::invalid);
}

TEST_F(ADiskFile, ReadPastTheEndOfATruncatedFileIsAnErrorNotZeroes) {
  const auto disk = open();
  ASSERT_EQ(truncate(path_.c_str(), 2 * mib + 1024), 0);
  Buffer found(mib);
  EXPECT_TRUE(loop_->run_until(read(*disk, mib, found)));
  for (const uint64_t offset : {2 * mib, 2 * mib - 4096, 4 * mib}) {
    const auto got = loop_->run_until(read(*disk, offset, found));
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, Code::io);
    EXPECT_NE(got.error().message.find(path_), std::string::npos);
  }
  const auto smaller = disk->refresh_size();
  ASSERT_FALSE(smaller);
  EXPECT_EQ(disk->size(), size);
}

TEST_F(ADiskFile, ReadPastItsSizeIsAnError) {
  const auto disk = open(part(0, mib));
  Buffer found(block_size);
  EXPECT_FALSE(loop_->run_until(read(*disk, mib, found)));
}

TEST_F(ADiskFile, AdoptsASizeThatGrewUnlessItIsAPartWithAnEnd) {
  {
    const auto disk = open();
    ASSERT_EQ(truncate(path_.c_str(), 16 * mib + 100), 0);
    EXPECT_EQ(disk->size(), size);
    EXPECT_EQ(disk->refresh_size().value(), 16 * mib);
    EXPECT_EQ(disk->size(), 16 * mib);
    const Buffer data = filled(block_size, 1);
    EXPECT_TRUE(loop_->run_until(write(*disk, 12 * mib, data)));
  }
  const auto fixed = open(part(0, mib));
  EXPECT_EQ(fixed->refresh_size().value(), mib);
}

TEST_F(ADiskFile, DiscardGivesSpaceBackAndReadsOn) {
  const auto disk = open();
  const Buffer data = filled(4 * mib, 3);
  ASSERT_TRUE(loop_->run_until(write(*disk, 0, data)));
  EXPECT_GE(allocated(), 4 * mib);
  ASSERT_TRUE(loop_->run_until(discard(*disk, mib, 2 * mib)));
  EXPECT_LE(allocated(), 3 * mib);
  Buffer found(block_size);
  ASSERT_TRUE(loop_->run_until(read(*disk, 0, found)));
  EXPECT_EQ(found.data()[0], std::byte{3});
  ASSERT_TRUE(loop_->run_until(read(*disk, 3 * mib, found)));
  EXPECT_EQ(found.data()[0], std::byte{3});
}

// Whether the file system would still have to turn unwritten extents into written ones there.
bool written(const std::string& path, uint64_t offset, uint64_t length) {
  const int fd = open(path.c_str(), O_RDONLY);
  const off_t hole = lseek(fd, static_cast<off_t>(offset), SEEK_HOLE);
  close(fd);
  return hole >= 0 && static_cast<uint64_t>(hole) >= offset + length;
}

TEST_F(ADiskFile, PrepareLeavesRealWrittenBlocks) {
  const auto disk = open();
  EXPECT_FALSE(written(path_, mib, 4 * mib - 4096));
  ASSERT_TRUE(loop_->run_until(prepare(*disk, mib, 4 * mib - 4096)));
  EXPECT_TRUE(written(path_, mib, 4 * mib - 4096));
  EXPECT_FALSE(written(path_, 0, mib));
  EXPECT_LE(allocated(), 4 * mib + 64 * kib);
}

TEST_F(ADiskFile, PrepareOfAllocatedButUnwrittenBlocksWritesThem) {
  const int fd = ::open(path_.c_str(), O_RDWR);
  ASSERT_EQ(fallocate(fd, 0, 0, static_cast<off_t>(size)), 0);
  close(fd);
  const auto disk = open();
  ASSERT_TRUE(loop_->run_until(prepare(*disk, 0, 2 * mib)));
  EXPECT_TRUE(written(path_, 0, 2 * mib));
}

TEST_F(ADiskFile, PrepareOfWrittenBlocksWritesNothing) {
  const auto disk = open();
  const Buffer data = filled(2 * mib, 3);
  ASSERT_TRUE(loop_->run_until(write(*disk, 0, data)));
  ASSERT_TRUE(loop_->run_until(prepare(*disk, 0, 2 * mib)));
  Buffer found(2 * mib);
  ASSERT_TRUE(loop_->run_until(read(*disk, 0, found)));
  EXPECT_EQ(std::memcmp(found.data(), data.data(), 2 * mib), 0);
}

TEST_F(ADiskFile, SaysWhatItIs) {
  const auto disk = open();
  const DiskTraits& traits = disk->traits();
  EXPECT_FALSE(traits.block_device);
  EXPECT_TRUE(traits.write_cache);
  EXPECT_GE(traits.discard_granularity, 512U);
}

Task<bool> completes_later(Disk& disk, Buffer& buffer) {
  IoBatch batch;
  batch.read(disk, 0, buffer.span());
  batch.discard(disk, 0, block_size);
  batch.prepare(disk, 0, block_size);
  batch.read(disk, size_t{1} * gib, buffer.span());  // past the end
  const bool pending = !batch.await_ready();
  for (int i = 0; i < 3; ++i) {
    IoBatch empty;
    co_await empty;
  }
  co_await batch;
  co_return pending;
}

TEST_F(ADiskFile, NothingCompletesFromInsideSubmit) {
  const auto disk = open();
  Buffer buffer(block_size);
  EXPECT_TRUE(loop_->run_until(completes_later(*disk, buffer)));
}

TEST_F(ADiskFile, ThatDoesNotExistOrIsSomethingElseIsRefusedByName) {
  const auto missing = open_file_disk(directory_ + "/nothing", {});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::not_found);
  EXPECT_NE(missing.error().message.find(directory_ + "/nothing"), std::string::npos);
  const auto folder = open_file_disk(directory_, {});
  ASSERT_FALSE(folder);
  EXPECT_EQ(folder.error().code, Code::invalid);
  const auto character = open_file_disk("/dev/null", {});
  ASSERT_FALSE(character);
  EXPECT_EQ(character.error().code, Code::invalid);
  ASSERT_EQ(truncate(path_.c_str(), 100), 0);
  EXPECT_EQ(refusal(), Code::invalid);
}

TEST_F(ADiskFile, OpenedReadOnlyCannotBeWritten) {
  FileDiskOptions reader;
  reader.read_only = true;
  const auto disk = open(reader);
  const Buffer data = filled(block_size, 1);
  EXPECT_FALSE(loop_->run_until(write(*disk, 0, data)));
}

TEST_F(ADiskFile, IsMadeOnce) {
  const auto again = create_disk_file(path_, size);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::exists);
  EXPECT_NE(again.error().message.find(path_), std::string::npos);
}

}  // namespace
}  // namespace lamina
