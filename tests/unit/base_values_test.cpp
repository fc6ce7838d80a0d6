// SPDX-License-Identifier: Apache-2.0
// The small types everything is made of: integers on the medium, checksums, buffers, units.
#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <vector>

#include "base/buffer.h"
#include "base/check.h"
#include "base/checksum.h"
#include "base/copy.h"
#include "base/endian.h"
#include "base/result.h"
#include "base/units.h"

namespace lamina {
namespace {

TEST(Endian, TheLowestByteComesFirst) {
  le32 value;
  value.store(0x01020304);
  EXPECT_EQ(value.bytes, (std::array<unsigned char, 4>{4, 3, 2, 1}));
  EXPECT_EQ(value.load(), 0x01020304U);
}

TEST(Endian, EveryWidthKeepsItsExtremes) {
  le16 two;
  le64 eight;
  for (const uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{0x8000}, UINT64_MAX}) {
    two.store(static_cast<uint16_t>(value));
    EXPECT_EQ(two.load(), static_cast<uint16_t>(value));
    eight.store(value);
    EXPECT_EQ(eight.load(), value);
  }
  static_assert(sizeof(le16) == 2 && sizeof(le32) == 4 && sizeof(le64) == 8);
  static_assert(alignof(le64) == 1, "may lie anywhere in a struct");
}

class ABlockOfBytes : public testing::Test {
 protected:
  ABlockOfBytes() : bytes_(block_size) {
    for (size_t i = 0; i < bytes_.size(); ++i) bytes_[i] = static_cast<std::byte>(i * 7);
  }
  std::vector<std::byte> bytes_;
  Secret secret_{std::byte{1}};
  MetadataPlace place_{BlobId{2}, 3, Generation{4}, 5};
};

TEST_F(ABlockOfBytes, IsCopiedPastTheCacheFromAnywhere) {
  for (const size_t shift : {0, 1, 15, 63}) {
    Buffer to(2 * block_size);
    to.zero();
    const size_t bytes = block_size - 64;
    copy_past_cache(bytes_.data() + shift, to.data() + 64, bytes);
    EXPECT_EQ(std::memcmp(to.data() + 64, bytes_.data() + shift, bytes), 0);
    EXPECT_TRUE(all_zero(to.span().first(64)) && all_zero(to.span().subspan(64 + bytes)));
  }
}

TEST_F(ABlockOfBytes, HasAnotherChecksumWhenAnyBitChanges) {
  const uint32_t payload = payload_checksum(bytes_);
  const uint64_t plain = plain_checksum(bytes_);
  const uint64_t keyed = keyed_checksum(bytes_, secret_, place_);
  for (size_t at = 0; at < bytes_.size(); at += 37) {
    bytes_[at] ^= std::byte{1};
    EXPECT_NE(payload_checksum(bytes_), payload);
    EXPECT_NE(plain_checksum(bytes_), plain);
    EXPECT_NE(keyed_checksum(bytes_, secret_, place_), keyed);
    bytes_[at] ^= std::byte{1};
  }
  EXPECT_EQ(payload_checksum(bytes_), payload);
}

TEST_F(ABlockOfBytes, HasAnotherKeyedChecksumAtEveryPlaceAndInEveryPool) {
  std::set<uint64_t> seen{keyed_checksum(bytes_, secret_, place_)};
  const auto is_new = [&](const Secret& secret, const MetadataPlace& place) {
    return seen.insert(keyed_checksum(bytes_, secret, place)).second;
  };
  EXPECT_TRUE(is_new(secret_, {BlobId{9}, 3, Generation{4}, 5}));
  EXPECT_TRUE(is_new(secret_, {BlobId{2}, 9, Generation{4}, 5}));
  EXPECT_TRUE(is_new(secret_, {BlobId{2}, 3, Generation{9}, 5}));
  EXPECT_TRUE(is_new(secret_, {BlobId{2}, 3, Generation{4}, 9}));
  Secret other = secret_;
  other[15] = std::byte{9};
  EXPECT_TRUE(is_new(other, place_));
}

// These are on people's disks: a change here is a change of the format.
TEST_F(ABlockOfBytes, HasTheChecksumsThatOldPoolsHave) {
  EXPECT_EQ(payload_checksum(bytes_), 0x9e810965U);
  EXPECT_EQ(plain_checksum(bytes_), 0x8fb047a89e810965U);
  EXPECT_EQ(keyed_checksum(bytes_, secret_, place_), 0xb682666c10d3f53fU);
}

TEST(Buffer, IsAlignedAndWholeBlocks) {
  const Buffer buffer(5000);
  EXPECT_EQ(buffer.size(), 8192U);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % block_size, 0U);
  EXPECT_EQ(buffer.blocks(1, 1).data(), buffer.data() + 4096);
  EXPECT_EQ(buffer.blocks(1, 1).size(), 4096U);
}

TEST(Buffer, IsMovedNotCopied) {
  Buffer one(4096);
  const std::byte* const where = one.data();
  const Buffer other = std::move(one);
  EXPECT_EQ(other.data(), where);
  EXPECT_TRUE(other);
  EXPECT_FALSE(Buffer{});
}

TEST(AllZero, FindsASingleBitAnywhere) {
  Buffer buffer(4096);
  buffer.zero();
  EXPECT_TRUE(all_zero(buffer.span()));
  EXPECT_TRUE(all_zero({}));
  for (size_t at = 0; at < 4096; ++at) {
    buffer.data()[at] = std::byte{0x80};
    ASSERT_FALSE(all_zero(buffer.span())) << at;
    buffer.data()[at] = std::byte{0};
  }
  EXPECT_TRUE(all_zero(buffer.span().subspan(3, 100)));
}

TEST(Units, BlocksAndBytesMeetInOnePlace) {
  const DeviceBlock block{10};
  EXPECT_EQ(block.byte_offset(), 40960U);
  EXPECT_EQ((block + BlockCount{5}) - block, BlockCount{5});
  EXPECT_EQ(BlockCount{3}.bytes(), 12288U);
}

TEST(Units, RangesAreHalfOpen) {
  const BlockRange range{{10}, {20}};
  EXPECT_TRUE(range.contains({10}));
  EXPECT_FALSE(range.contains({20}));
  EXPECT_TRUE(range.overlaps({{19}, {30}}));
  EXPECT_FALSE(range.overlaps({{20}, {30}}));
  EXPECT_FALSE(range.overlaps({{0}, {10}}));
  EXPECT_EQ(range.length(), BlockCount{10});
  EXPECT_TRUE((BlockRange{{5}, {5}}).empty());
}

TEST(Units, RoundingGoesToMultiples) {
  EXPECT_EQ(round_up(1, 4096), 4096U);
  EXPECT_EQ(round_up(4096, 4096), 4096U);
  EXPECT_EQ(round_down(4097, 4096), 4096U);
  EXPECT_EQ(div_up(4097, 4096), 2U);
}

Result<> tried(bool works) {
  LAMINA_TRY(works ? Result<>{} : Result<>{fail(Code::busy, "why")});
  return {};
}

TEST(Result, TryLeavesWithTheError) {
  EXPECT_TRUE(tried(true));
  const auto failed = tried(false);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Code::busy);
  EXPECT_EQ(failed.error().message, "why");
}

TEST(CheckDeathTest, SaysWhatWasExpectedAndWhere) {
  const int two = 2;
  LAMINA_CHECK(two == 2);
  EXPECT_DEATH(LAMINA_CHECK(two == 3), "two == 3 .*base_values_test.cpp:");
}

}  // namespace
}  // namespace lamina
