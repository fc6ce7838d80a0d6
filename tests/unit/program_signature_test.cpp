// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "base/units.h"
#include "blobs/superblock.h"
#include "tools/signature.h"

namespace lamina {
namespace {

// A disk in memory that one may write marks on.
class Target {
 public:
  explicit Target(uint64_t size) : bytes_(size) {}
  void put(uint64_t offset, const std::string& mark) {
    std::memcpy(bytes_.data() + offset, mark.data(), mark.size());
  }
  std::span<std::byte> block(uint64_t offset) {
    return std::span(bytes_).subspan(offset, block_size);
  }
  std::string signature() const {
    const auto found =
        find_signature(bytes_.size(), [this](uint64_t at, std::span<std::byte> into) {
          std::memcpy(into.data(), bytes_.data() + at, into.size());
          return Result<>();
        });
    if (!found) return "error";
    return found->value_or("nothing");
  }

 private:
  std::vector<std::byte> bytes_;
};

constexpr uint64_t size = 8 * mib;

std::string with(uint64_t offset, const std::string& mark) {
  Target target(size);
  target.put(offset, mark);
  return target.signature();
}

Superblock some_superblock() {
  Superblock superblock;
  superblock.pool_name = "pool";
  superblock.blob_name = "blob";
  superblock.blob = BlobId{0};
  superblock.size = 64 * mib;
  superblock.middle = 32 * mib;
  superblock.segment_blocks = 64;
  superblock.segment_count = 128;
  superblock.erase_bytes = block_size;
  return superblock;
}

TEST(Signature, NothingIsFoundWhereNothingIs) {
  EXPECT_EQ(Target(size).signature(), "nothing");
  EXPECT_EQ(Target(4096).signature(), "nothing");
}

TEST(Signature, FileSystemsAreFound) {
  EXPECT_EQ(with(1080, "\x53\xef"), "an ext2, ext3 or ext4 file system");
  EXPECT_EQ(with(0, "XFSB"), "an XFS file system");
  EXPECT_EQ(with(65600, "_BHRfS_M"), "a btrfs file system");
  EXPECT_EQ(with(3, "NTFS    "), "an NTFS file system");
  EXPECT_EQ(with(82, "FAT32   "), "a FAT file system");
  EXPECT_EQ(with(4086, "SWAPSPACE2"), "swap space");
}

TEST(Signature, VolumeManagersAndArraysAreFoundAtBothEnds) {
  EXPECT_EQ(with(512, "LABELONE"), "an LVM physical volume");
  EXPECT_EQ(with(0, "LUKS\xba\xbe"), "a LUKS encrypted volume");
  EXPECT_EQ(with(4096, "\xfc\x4e\x2b\xa9"), "a member of an md array");
  EXPECT_EQ(with(size - 64 * kib, "\xfc\x4e\x2b\xa9"), "a member of an md array");
  EXPECT_EQ(with(size - 8 * kib, "\xfc\x4e\x2b\xa9"), "a member of an md array");
}

TEST(Signature, ZfsIsFoundInAnyOfItsLabels) {
  const std::string uberblock("\x0c\xb1\xba\0\0\0\0\0", 8);
  EXPECT_EQ(with(128 * kib, uberblock), "a ZFS pool");
  EXPECT_EQ(with(128 * kib + 7 * kib, uberblock), "a ZFS pool");
  EXPECT_EQ(with(size - 512 * kib + 128 * kib, uberblock), "a ZFS pool");
  EXPECT_EQ(with(size - 256 * kib + 129 * kib, uberblock), "a ZFS pool");
}

TEST(Signature, PartitionTablesAreFoundAndBareBootSectorsAreNot) {
  EXPECT_EQ(with(512, "EFI PART"), "a GPT partition table");
  EXPECT_NE(with(size - 512, "EFI PART").find("backup"), std::string::npos);
  Target target(size);
  target.put(510, "\x55\xaa");
  EXPECT_EQ(target.signature(), "nothing");
  target.put(446 + 4, "\x83");
  EXPECT_EQ(target.signature(), "an MBR partition table");
}

TEST(Signature, ImagesAreFound) {
  EXPECT_EQ(with(0, "QFI\xfb"), "a qcow2 image");
  EXPECT_EQ(with(0, "KDMV"), "a VMDK image");
  EXPECT_EQ(with(64, "\x7f\x10\xda\xbe"), "a VDI image");
}

TEST(Signature, APoolIsFoundByEitherEnd) {
  const Superblock superblock = some_superblock();
  Target first(size), last(size);
  pack_superblock(superblock, first.block(0));
  pack_superblock(superblock, last.block(size - block_size));
  EXPECT_EQ(first.signature(), "a lamina pool");
  EXPECT_EQ(last.signature(), "a lamina pool");
}

TEST(Signature, ADamagedSuperblockIsStillAPool) {
  const Superblock superblock = some_superblock();
  Target target(size);
  pack_superblock(superblock, target.block(0));
  target.put(200, "damage");
  EXPECT_EQ(target.signature(), "a lamina pool");
}

TEST(Signature, AReadErrorIsNotTakenForAnEmptyDisk) {
  const auto found = find_signature(size, [](uint64_t, std::span<std::byte>) -> Result<> {
    return fail(Code::io, "bad sector");
  });
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Code::io);
}

}  // namespace
}  // namespace lamina
