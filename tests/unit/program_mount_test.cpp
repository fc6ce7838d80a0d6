// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include "mount_options.h"
#include "mount_table.h"
#include "text_table.h"
#include "tools/inspect.h"

namespace lamina {
namespace {

TEST(MountTable, FieldsAreFoundBehindAnyNumberOfTags) {
  const auto table = parse_mount_table(
      "22 1 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/sda1 rw\n"
      "99 22 0:44 / /mnt/my\\040pool rw,nosuid - fuse.lamina vm\\134store rw,user_id=0\n");
  ASSERT_EQ(table.size(), 2u);
  EXPECT_EQ(table[0].device, makedev(8, 1));
  EXPECT_EQ(table[0].type, "ext4");
  EXPECT_EQ(table[1].point, "/mnt/my pool");
  EXPECT_EQ(table[1].type, lamina_mount_type);
  EXPECT_EQ(table[1].source, "vm\\store");
}

TEST(MountTable, LinesThatAreNoneAreLeftOut) {
  EXPECT_TRUE(parse_mount_table("\nhello\n1 2 3\n1 2 x:y / / rw - ext4 dev rw\n").empty());
}

TEST(MountOptions, RootLetsOthersInUnlessTold) {
  EXPECT_TRUE(parse_mount_options({}, true)->allow_other);
  EXPECT_FALSE(parse_mount_options({}, false)->allow_other);
  EXPECT_FALSE(parse_mount_options({"noallow_other"}, true)->allow_other);
  EXPECT_TRUE(parse_mount_options({"ro", "allow_other"}, false)->allow_other);
}

TEST(MountOptions, ListsAddUp) {
  const auto options =
      parse_mount_options({"ro,noatime", "reactors=2,without=multishot:allow_mmap"}, true);
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_TRUE(options->read_only);
  EXPECT_EQ(options->reactors, 2u);
  EXPECT_EQ(options->to_kernel, std::vector<std::string>{"noatime"});
  EXPECT_TRUE(options->without[index(Feature::multishot)]);
  EXPECT_TRUE(options->without[index(Feature::allow_mmap)]);
  EXPECT_EQ(options->without.count(), 2u);
}

TEST(MountOptions, WhatFstabAddsIsAccepted) {
  EXPECT_TRUE(parse_mount_options({"rw,defaults,nofail,_netdev,noauto,x-systemd.automount"}, true));
}

TEST(MountOptions, UnknownWordsAreNamed) {
  for (const char* word :
       {"sideways", "reactors=0", "reactors=many", "without=nothing", "allow_root"}) {
    const auto options = parse_mount_options({word}, true);
    ASSERT_FALSE(options) << word;
    EXPECT_EQ(options.error().code, Code::invalid);
    const std::string name = std::string(word).substr(0, std::string(word).find('='));
    EXPECT_NE(options.error().message.find(name), std::string::npos) << options.error().message;
  }
}

TEST(TextTable, ColumnsAreAsWideAsTheyMustBeInCharacters) {
  TextTable table({{"NAME"}, {"SIZE", TextTable::Align::right}, {"X"}});
  table.row({"größe", "1G", "a"});
  table.row({"b", "1024", ""});
  EXPECT_EQ(table.text(),
            "NAME   SIZE  X\n"
            "größe    1G  a\n"
            "b      1024\n");
}

TEST(BlockPlace, OffsetsAreSizesOrHexadecimal) {
  EXPECT_EQ(parse_block_place("/x@64K")->offset, 65536u);
  EXPECT_EQ(parse_block_place("/x@0x2000")->offset, 8192u);
  EXPECT_EQ(parse_block_place("/x")->offset, 0u);
  EXPECT_EQ(parse_block_place("/a@b@4096")->path, "/a@b");
  EXPECT_FALSE(parse_block_place("/x@100"));
  EXPECT_FALSE(parse_block_place("/x@0xzz"));
  EXPECT_FALSE(parse_block_place("@4096"));
}

}  // namespace
}  // namespace lamina
