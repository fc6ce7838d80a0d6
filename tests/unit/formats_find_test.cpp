// SPDX-License-Identifier: Apache-2.0
// A disk's superblock is found while one copy of it is left, also across a power cut in the
// middle of writing it.
#include <gtest/gtest.h>

#include "blobs/block_format.h"
#include "blobs/sim_disk.h"
#include "blobs/superblock_format.h"
#include "formats_samples.h"

namespace lamina {
namespace {

constexpr uint64_t medium_bytes = 64 * mib;

// A disk with a blob on it.
class ABlobOnADisk : public testing::Test {
 protected:
  ABlobOnADisk() : superblock_(samples::superblock(medium_bytes)) {
    SimExecutor executor(1);
    std::shared_ptr<Disk> disk = open_sim_disk(medium_, executor);
    Blob blob(disk, superblock_);
    Result<> written;
    EXPECT_TRUE(executor.run_until(blob.write_superblocks(blob.alone()), written));
    EXPECT_TRUE(written);
    offsets_ = blob.superblock_offsets();
  }

  Result<Blob::Found> find() {
    SimExecutor executor(2);
    const std::unique_ptr<Disk> disk = open_sim_disk(medium_, executor);
    Result<Blob::Found> found;
    EXPECT_TRUE(executor.run_until(Blob::find(*disk), found));
    return found;
  }

  void damage(size_t copy) {
    const std::vector<std::byte> rot(100, std::byte{0x5a});
    medium_.damage(offsets_[copy] + 300, rot);
  }
  void wipe(size_t copy) {
    const std::vector<std::byte> zeroes(block_size);
    medium_.damage(offsets_[copy], zeroes);
  }
  void put(size_t copy, std::span<const std::byte> block) { medium_.damage(offsets_[copy], block); }

  void expect_found(uint32_t damaged) {
    const auto found = find();
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(found->superblock, superblock_);
    EXPECT_EQ(found->damaged, damaged);
  }
  void expect_refused(Code code, const std::string& words) {
    const auto found = find();
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, code) << found.error().message;
    EXPECT_NE(found.error().message.find(words), std::string::npos) << found.error().message;
    EXPECT_NE(found.error().message.find("disk0"), std::string::npos) << found.error().message;
  }

  SimMedium medium_{"disk0", medium_bytes};
  Superblock superblock_;
  std::array<uint64_t, superblock_copies> offsets_{};
};

TEST_F(ABlobOnADisk, IsFoundWhole) {
  expect_found(0);
}

// As a misdirected write leaves it: whole, but of another blob of the pool.
TEST_F(ABlobOnADisk, IsNotTakenForAnotherWhoseCopyLiesOnIt) {
  Superblock other = superblock_;
  other.blob_uuid[0] ^= std::byte{1};
  other.blob_name = "other";
  Buffer block(block_size), saved(block_size);
  pack_superblock(other, block.span());
  for (size_t copy = 0; copy < superblock_copies; ++copy) {
    SCOPED_TRACE(copy);
    medium_.read(offsets_[copy], saved.span());
    put(copy, block.span());
    expect_found(1);
    put(copy, saved.span());
  }
}

TEST_F(ABlobOnADisk, IsFoundByAnyCopyThatIsLeft) {
  for (size_t kept = 0; kept < superblock_copies; ++kept) {
    SCOPED_TRACE(kept);
    Buffer saved(block_size);
    medium_.read(offsets_[kept], saved.span());
    for (size_t i = 0; i < superblock_copies; ++i)
      if (i != kept) damage(i);
    expect_found(superblock_copies - 1);
    for (size_t i = 0; i < superblock_copies; ++i) put(i, saved.span());
  }
}

TEST_F(ABlobOnADisk, IsFoundWhenACopyCannotBeRead) {
  medium_.fail_reads(0, block_size);
  expect_found(1);
}

TEST_F(ABlobOnADisk, WithEveryCopyDamagedIsCorrupt) {
  for (size_t i = 0; i < superblock_copies; ++i) damage(i);
  expect_refused(Code::corrupt, "checksum");
}

TEST_F(ABlobOnADisk, WipedIsNoBlob) {
  for (size_t i = 0; i < superblock_copies; ++i) wipe(i);
  expect_refused(Code::not_found, "no lamina superblock");
}

TEST_F(ABlobOnADisk, OfANewerFormatIsRefusedEvenIfAnOlderCopyIsLeft) {
  Buffer block(block_size);
  medium_.read(0, block.span());
  auto format = load_block<SuperblockFormat>(block.span());
  format.incompat.store(4);
  store_block(format, block.span());
  store_block_checksum(block.span(), plain_block_checksum(block.span()));
  put(0, block.span());
  expect_refused(Code::unsupported, "made by a newer lamina");
}

TEST_F(ABlobOnADisk, ACopyOfAnotherBlobCountsAsDamaged) {
  Superblock other = superblock_;
  other.blob_uuid = samples::uuid(0x70);
  Buffer block(block_size);
  pack_superblock(other, block.span());
  put(2, block.span());
  expect_found(1);
}

TEST_F(ABlobOnADisk, IsFoundWhenTheDiskHasGrownSince) {
  medium_.grow(2 * medium_bytes);
  expect_found(0);
}

// As when the file grows again while the blob does: only the spare copy's place is known then.
TEST_F(ABlobOnADisk, IsFoundWhenTheDiskHasGrownAndTheFirstCopyIsTorn) {
  medium_.grow(2 * medium_bytes);
  damage(0);
  expect_found(1);
}

TEST_F(ABlobOnADisk, CutShortIsSaidToBe) {
  SimMedium shorter("disk0", medium_bytes - mib);
  Buffer block(block_size);
  medium_.read(0, block.span());
  shorter.damage(0, block.span());
  SimExecutor executor(3);
  const std::unique_ptr<Disk> disk = open_sim_disk(shorter, executor);
  Result<Blob::Found> found;
  ASSERT_TRUE(executor.run_until(Blob::find(*disk), found));
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Code::corrupt);
  EXPECT_NE(found.error().message.find("cut short"), std::string::npos);
}

TEST_F(ABlobOnADisk, SurvivesAPowerCutWhileItsSuperblocksAreRewritten) {
  Superblock other = superblock_;
  other.pool_name = "renamed";
  int old_ones = 0, new_ones = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE(seed);
    SimMedium medium("disk0", medium_bytes);
    Buffer block(block_size);
    pack_superblock(superblock_, block.span());
    for (const uint64_t offset : offsets_) medium.damage(offset, block.span());
    {
      SimExecutor executor(seed);
      std::shared_ptr<Disk> disk = open_sim_disk(medium, executor);
      Blob blob(disk, other);
      executor.crash_after(1 + seed % 5);
      Result<> written;
      (void)executor.run_until(blob.write_superblocks(blob.alone()), written);
      medium.power_cut(executor.random());
    }
    SimExecutor executor(seed);
    const std::unique_ptr<Disk> disk = open_sim_disk(medium, executor);
    Result<Blob::Found> found;
    ASSERT_TRUE(executor.run_until(Blob::find(*disk), found));
    ASSERT_TRUE(found) << found.error().message;
    const bool is_old = found->superblock == superblock_;
    ASSERT_TRUE(is_old || found->superblock == other);
    ++(is_old ? old_ones : new_ones);
  }
  EXPECT_GT(old_ones, 20);
  EXPECT_GT(new_ones, 20);
}

}  // namespace
}  // namespace lamina
