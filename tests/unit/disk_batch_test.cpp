// SPDX-License-Identifier: Apache-2.0
// Batches: several operations, one await, no allocation where there are few.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <new>
#include <optional>
#include <vector>

#include "base/buffer.h"
#include "base/task.h"
#include "blobs/disk.h"

namespace {
thread_local bool counting = false;
thread_local int allocations = 0;
}  // namespace

// Counts what a batch allocates; the test's own containers are made beforehand. Not inlined:
// the compiler would see new and delete disagree where it inlines only one. ThreadSanitizer has its
// own, which must be the only ones.
#if !defined(__SANITIZE_THREAD__)
[[gnu::noinline]] void* operator new(size_t bytes) {
  if (counting) ++allocations;
  if (void* const memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
#endif

namespace lamina {
namespace {

// Keeps what was submitted until the test completes it.
class SlowDisk final : public Disk {
 public:
  SlowDisk() { under_way.reserve(64); }
  uint64_t size() const override { return gib; }
  const DiskTraits& traits() const override { return traits_; }
  const std::string& name() const override { return name_; }
  void submit(DiskOperation& operation) override { under_way.push_back(&operation); }
  Result<uint64_t> refresh_size() override { return size(); }

  void complete_all(int error = 0) {
    const auto now = std::move(under_way);
    under_way.clear();
    for (DiskOperation* operation : now) operation->complete(error);
  }
  std::vector<DiskOperation*> under_way;

 private:
  DiskTraits traits_;
  std::string name_ = "/dev/slow";
};

Task<void> await_batch(std::optional<IoBatch>& batch, bool& resumed) {
  IoBatch& waited_for = *batch;
  co_await waited_for;
  resumed = true;
  batch.reset();  // a waiter may destroy the batch inside the completion
}

TEST(IoBatch, ResumesItsWaiterOnceTheLastOperationHasCompletedAndMayBeDestroyedThere) {
  SlowDisk disk;
  Buffer buffer(block_size);
  std::optional<IoBatch> batch(std::in_place);
  for (uint64_t i = 0; i < 9; ++i) batch->read(disk, i * block_size, buffer.span());
  bool resumed = false;
  spawn(await_batch(batch, resumed));
  for (size_t i = 0; i < 8; ++i) disk.under_way[i]->complete(0);
  EXPECT_FALSE(resumed);
  disk.under_way[8]->complete(0);
  EXPECT_TRUE(resumed);
  EXPECT_FALSE(batch.has_value());
}

TEST(IoBatch, WithNothingInItIsReadyAtOnce) {
  IoBatch batch;
  EXPECT_TRUE(batch.await_ready());
  EXPECT_TRUE(batch.ok());
}

TEST(IoBatch, OperationsStayWhereTheyAre) {
  SlowDisk disk;
  Buffer buffer(block_size);
  IoBatch batch;
  for (uint64_t i = 0; i < 20; ++i) {
    DiskOperation& operation = batch.read(disk, i * block_size, buffer.span());
    EXPECT_EQ(&operation, disk.under_way[i]);
  }
  for (uint64_t i = 0; i < 20; ++i) EXPECT_EQ(disk.under_way[i]->offset, i * block_size);
  disk.complete_all();
}

TEST(IoBatch, OfFourOperationsAllocatesNothing) {
  SlowDisk disk;
  Buffer buffer(block_size);
  allocations = 0;
  counting = true;
  {
    IoBatch batch;
    batch.read(disk, 0, buffer.span());
    batch.write(disk, 4096, buffer.span());
    batch.flush(disk);
    batch.discard(disk, 8192, 4096);
    for (DiskOperation* operation : disk.under_way) operation->complete(0);
  }
  counting = false;
  EXPECT_EQ(allocations, 0);
}

TEST(IoBatch, TellsTheFirstErrorAndWhereItWas) {
  SlowDisk disk;
  Buffer buffer(block_size);
  IoBatch batch;
  batch.read(disk, 4096, buffer.span());
  const DiskOperation& second = batch.write(disk, 8192, buffer.span());
  const DiskOperation& third = batch.flush(disk);
  disk.under_way[0]->complete(0);
  EXPECT_TRUE(batch.ok());
  disk.under_way[2]->complete(ENOSPC);
  disk.under_way[1]->complete(EIO);
  EXPECT_EQ(second.error, EIO);
  EXPECT_EQ(third.error, ENOSPC);
  EXPECT_EQ(batch.first_error(), ENOSPC);
  const auto result = batch.result();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::no_space);
  EXPECT_EQ(result.error().message, "/dev/slow: flushing: No space left on device");
}

TEST(IoBatch, NamesTheOffsetOfAFailedRead) {
  SlowDisk disk;
  Buffer buffer(block_size);
  IoBatch batch;
  batch.read(disk, 4096, buffer.span());
  disk.complete_all(EIO);
  EXPECT_EQ(batch.result().error().message, "/dev/slow: reading at byte 4096: Input/output error");
  EXPECT_EQ(batch.result().error().code, Code::io);
}

Task<void> two_rounds(SlowDisk& disk, Buffer& buffer, int& round) {
  IoBatch batch;
  for (round = 1; round <= 2; ++round) {
    for (uint64_t i = 0; i < 6; ++i) batch.read(disk, i * block_size, buffer.span());
    co_await batch;
  }
}

TEST(IoBatch, CanBeUsedAgainAfterTheAwait) {
  SlowDisk disk;
  Buffer buffer(block_size);
  int round = 0;
  spawn(two_rounds(disk, buffer, round));
  EXPECT_EQ(round, 1);
  disk.complete_all();
  EXPECT_EQ(round, 2);
  EXPECT_EQ(disk.under_way.size(), 6U);
  disk.complete_all();
  EXPECT_EQ(round, 3);
}

TEST(IoBatchDeathTest, RefusesWhatIsNoMultipleOfABlock) {
  SlowDisk disk;
  Buffer buffer(2 * block_size);
  IoBatch batch;
  EXPECT_DEATH(batch.read(disk, 512, buffer.span()), "block_multiple");
  EXPECT_DEATH(batch.read(disk, 0, buffer.span().first(100)), "block_multiple");
  EXPECT_DEATH(batch.read(disk, 0, buffer.span().subspan(512, 4096)), "block_multiple");
}

TEST(IoBatchDeathTest, MustNotBeDestroyedWhileAnOperationIsUnderWay) {
  SlowDisk disk;
  Buffer buffer(block_size);
  EXPECT_DEATH(
      {
        IoBatch batch;
        batch.read(disk, 0, buffer.span());
      },
      "pending_ == 0");
}

}  // namespace
}  // namespace lamina
