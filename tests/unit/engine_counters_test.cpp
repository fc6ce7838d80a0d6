// SPDX-License-Identifier: Apache-2.0
// Everything that is written has a counter: their sum is what the disk saw.
#include <random>

#include "engine_pool_fixture.h"

namespace lamina {
namespace {

class HonestCounters : public PoolOnSimulatedDisk {
 protected:
  struct Seen {
    uint64_t written = 0, discarded = 0;
  };
  Seen of_disk() const {
    return {medium_.bytes_written() + medium_.bytes_zeroed(), medium_.bytes_discarded()};
  }
  void open_counted() {
    before_ = of_disk();
    open();
  }
  void expect_all_counted() {
    const PoolStatus status = pool_->status();
    const Seen now = of_disk();
    EXPECT_EQ(status.written_medium(), now.written - before_.written);
    EXPECT_EQ(status.discarded, now.discarded - before_.discarded);
  }
  // Overwrites most of a small pool several times, some of it under a fork.
  void overwrite() {
    std::mt19937_64 random(3);
    auto device = wait(pool_->create("a", 64 * mib, {}));
    ASSERT_TRUE(device);
    const uint64_t blocks = pool_->status().size / block_size * 7 / 10;
    for (uint64_t i = 0; i < 4 * blocks; i += 8) {
      const uint64_t at = random() % (blocks - 8) * block_size;
      const auto written = wait(pool_->write(device->id, at, pattern(8 * block_size, 1)));
      ASSERT_TRUE(written) << written.error().message;
      if (i % 1000 == 0) wait(pool_->flush(device->id)).value();
      if (i % 4000 == 0) wait(pool_->erase(device->id, at, 64 * block_size)).value();
    }
    ASSERT_TRUE(wait(pool_->fork({{device->id, "b"}}, false)));
    ASSERT_TRUE(wait(pool_->write(device->id, 0, pattern(mib, 2))));
    ASSERT_TRUE(wait(pool_->sync()));
    ASSERT_TRUE(wait(pool_->remove("b")));
  }
  Seen before_;
};

TEST_F(HonestCounters, AddUpToWhatAFileSaw) {
  ASSERT_TRUE(wait(pool_->close()));
  pool_.reset();
  open_counted();
  overwrite();
  const PoolStatus status = pool_->status();
  ASSERT_GT(status.written_for(Cause::moved), 0U);  // it did all that a pool does
  ASSERT_GT(status.written_for(Cause::stamps), 0U);
  ASSERT_GE(status.written_for(Cause::payload), status.written_user);
  ASSERT_TRUE(wait(pool_->close()));
  expect_all_counted();
}

TEST_F(HonestCounters, AddUpToWhatABlockDeviceSaw) {
  ASSERT_TRUE(wait(pool_->close()));
  pool_.reset();
  DiskTraits traits = medium_.traits();
  traits.block_device = true;
  medium_.set_traits(traits);
  open_counted();
  overwrite();
  ASSERT_TRUE(wait(pool_->close()));
  expect_all_counted();
  EXPECT_GT(pool_->status().discarded, 0U);
}

TEST_F(HonestCounters, AddUpWhereThePoolHasGrown) {
  ASSERT_TRUE(wait(pool_->close()));
  pool_.reset();
  open_counted();
  medium_.grow(2 * pool_bytes);
  ASSERT_TRUE(wait(pool_->grow("")));
  overwrite();
  ASSERT_TRUE(wait(pool_->close()));
  EXPECT_GT(pool_->status().written_for(Cause::superblocks), 0U);
  expect_all_counted();
}

TEST_F(HonestCounters, AddUpAfterACrash) {
  auto device = wait(pool_->create("a", mib, {}));
  ASSERT_TRUE(device);
  ASSERT_TRUE(wait(pool_->write(device->id, 0, pattern(mib, 1))));
  pool_.reset();
  medium_.process_killed(executor_->random());  // all of it may lie in the cache only
  executor_ = std::make_unique<SimExecutor>(executor_->steps());
  open_counted();
  ASSERT_TRUE(wait(pool_->close()));
  EXPECT_GT(pool_->status().recovered_entries, 0U);
  EXPECT_GT(pool_->status().written_for(Cause::recovery), 0U);
  expect_all_counted();
}

}  // namespace
}  // namespace lamina
