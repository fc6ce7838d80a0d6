// SPDX-License-Identifier: Apache-2.0
// A throttled disk does what it is told, and no more of it a second.
#include <gtest/gtest.h>

#include <cstring>

#include "base/buffer.h"
#include "blobs/sim_disk.h"
#include "blobs/throttled_disk.h"

namespace lamina {
namespace {

constexpr uint64_t second_ns = 1'000'000'000;

Task<Result<>> write_and_read(Disk& disk, std::span<std::byte> data) {
  for (int time = 0; time < 3; ++time) {
    IoBatch batch;
    batch.write(disk, 0, data);
    co_await batch;
    LAMINA_CO_TRY(batch.result());
  }
  std::memset(data.data(), 0, data.size());
  IoBatch batch;
  batch.read(disk, 0, data);
  co_await batch;
  co_return batch.result();
}

TEST(ThrottledDisk, NoMoreIsWrittenASecondThanItMay) {
  SimMedium medium("disk", 4 * mib);
  SimExecutor executor(1);
  ThrottledDisk disk(open_sim_disk(medium, executor), mib);
  Buffer data(mib);
  std::memset(data.data(), 7, data.size());
  const uint64_t began = executor.now_ns();
  Result<> result;
  ASSERT_TRUE(executor.run_until(write_and_read(disk, data.span()), result));
  ASSERT_TRUE(result) << result.error().message;
  // The first begins at once, each other one a second after the one before; reads wait for reads.
  EXPECT_GE(executor.now_ns() - began, 2 * second_ns);
  EXPECT_LT(executor.now_ns() - began, 3 * second_ns);
  EXPECT_EQ(data.data()[mib - 1], std::byte{7});
}

}  // namespace
}  // namespace lamina
