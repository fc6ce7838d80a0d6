// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "fuse/kernel_features.h"

namespace lamina {
namespace {

constexpr uint64_t direct_io_allow_mmap = uint64_t{1} << 36;

fuse_init_in kernel_of_today() {
  fuse_init_in in{};
  in.major = 7;
  in.minor = 45;
  in.max_readahead = 131072;
  in.flags = UINT32_MAX & ~FUSE_INIT_RESERVED;
  in.flags2 = UINT32_MAX;
  return in;
}

uint64_t flags_of(const fuse_init_out& out) {
  return out.flags | uint64_t{out.flags2} << 32;
}

FeatureSet everything() {
  return FeatureSet{}.set();
}
FeatureSet only(Feature feature) {
  return FeatureSet{}.set(index(feature));
}

TEST(KernelFeatures, EverythingOfferedIsUsed) {
  const Negotiation n = negotiate(kernel_of_today(), {}, only(Feature::multishot));
  EXPECT_EQ(n.features.used, everything());
  EXPECT_EQ(n.reply.max_write, 1u << 20);
  EXPECT_EQ(n.reply.max_pages, 256);
  EXPECT_GE(n.reply.max_background, 1024);
  const uint64_t flags = flags_of(n.reply);
  for (const uint64_t wanted :
       {uint64_t{FUSE_ASYNC_DIO}, uint64_t{FUSE_PARALLEL_DIROPS}, uint64_t{FUSE_HANDLE_KILLPRIV_V2},
        uint64_t{FUSE_EXPLICIT_INVAL_DATA}, uint64_t{FUSE_INIT_EXT}, direct_io_allow_mmap})
    EXPECT_TRUE(flags & wanted) << std::hex << wanted;
}

TEST(KernelFeatures, CachesThatWouldHideSnapshotsAreNeverAskedFor) {
  const uint64_t flags = flags_of(negotiate(kernel_of_today(), {}, {}).reply);
  EXPECT_FALSE(flags & FUSE_WRITEBACK_CACHE);
  EXPECT_FALSE(flags & FUSE_AUTO_INVAL_DATA);
  // Nor what the reply could not live up to.
  EXPECT_FALSE(flags & (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_SETXATTR_EXT |
                        FUSE_NO_OPEN_SUPPORT | FUSE_POSIX_ACL));
}

TEST(KernelFeatures, NothingIsAskedForThatTheKernelDoesNotOffer) {
  fuse_init_in old{};
  old.major = 7;
  old.minor = 31;
  old.flags = FUSE_ASYNC_READ | FUSE_ASYNC_DIO | FUSE_BIG_WRITES;
  const Negotiation n = negotiate(old, {}, {});
  EXPECT_EQ(flags_of(n.reply) & ~uint64_t{old.flags}, 0u);
  EXPECT_EQ(n.features.used, only(Feature::async_dio));
  EXPECT_EQ(n.reply.minor, 31u);
  EXPECT_EQ(n.reply.max_write, 128u << 10);
  EXPECT_EQ(open_flags(n.features.used), uint32_t{FOPEN_DIRECT_IO});
}

TEST(KernelFeatures, EachCanBeLeftOutAlone) {
  for (size_t i = 0; i < feature_count; ++i) {
    FeatureSet without;
    without.set(i);
    const Negotiation n = negotiate(kernel_of_today(), without, only(Feature::multishot));
    EXPECT_EQ(n.features.used, everything() & ~without) << feature_name(static_cast<Feature>(i));
    EXPECT_EQ(n.features.offered, everything());
  }
}

TEST(KernelFeatures, EveryOpenOfADeviceIsDirectAndParallel) {
  EXPECT_EQ(open_flags(everything()),
            uint32_t{FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES | FOPEN_NOFLUSH});
}

TEST(KernelFeatures, AListOfNamesIsASet) {
  const auto set = parse_features("multishot,allow_mmap");
  ASSERT_TRUE(set);
  EXPECT_EQ(*set, only(Feature::multishot) | only(Feature::allow_mmap));
  EXPECT_TRUE(parse_features("")->none());
  const auto unknown = parse_features("multishot,flying");
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("flying"), std::string::npos);
}

}  // namespace
}  // namespace lamina
