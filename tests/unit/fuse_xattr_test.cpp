// SPDX-License-Identifier: Apache-2.0
// Extended attributes that are kept, and those that control.
#include <fcntl.h>
#include <sys/xattr.h>

#include <nlohmann/json.hpp>

#include "fuse_test_pool.h"

namespace lamina {
namespace {

using Xattrs = MountedPool;

TEST_F(Xattrs, AreKeptListedAndRemoved) {
  const uint64_t inode = make("a");
  EXPECT_EQ(set_xattr(inode, "user.note", "hello").error, 0);
  EXPECT_EQ(set_xattr(inode, "security.selinux", "label").error, 0);
  EXPECT_EQ(get_xattr(inode, "user.note").bytes, "hello");
  EXPECT_EQ(get_xattr(inode, "user.note", 0).as<fuse_getxattr_out>().size, 5u);
  EXPECT_EQ(get_xattr(inode, "user.note", 4).error, ERANGE);
  EXPECT_EQ(get_xattr(inode, "user.other").error, ENODATA);
  EXPECT_EQ(set_xattr(inode, "user.note", "x", XATTR_CREATE).error, EEXIST);
  EXPECT_EQ(set_xattr(inode, "user.other", "x", XATTR_REPLACE).error, ENODATA);
  EXPECT_EQ(ask(FUSE_REMOVEXATTR, inode, std::string_view(zero_ended("user.note"))).error, 0);
  EXPECT_EQ(ask(FUSE_REMOVEXATTR, inode, std::string_view(zero_ended("user.note"))).error, ENODATA);
}

TEST_F(Xattrs, TrustedOnesAreListedForRootOnly) {
  const uint64_t inode = make("a");
  set_xattr(inode, "user.a", "1");
  set_xattr(inode, "trusted.b", "2");
  fuse_getxattr_in in{};
  in.size = 1000;
  const std::string all = ask(FUSE_LISTXATTR, inode, in).bytes;
  EXPECT_NE(all.find("trusted.b"), std::string::npos);
  EXPECT_NE(all.find("user.a"), std::string::npos);
  caller_uid_ = 5;
  EXPECT_EQ(ask(FUSE_LISTXATTR, inode, in).bytes, zero_ended("user.a"));
}

TEST_F(Xattrs, OtherNamespacesAndCapabilitiesAreNotSupported) {
  const uint64_t inode = make("a");
  for (const std::string_view name :
       {"system.posix_acl_access", "security.capability", "whatever.x", "nodot"})
    EXPECT_EQ(set_xattr(inode, name, "x").error, EOPNOTSUPP) << name;
  EXPECT_EQ(get_xattr(inode, "system.posix_acl_access").error, EOPNOTSUPP);
}

TEST_F(Xattrs, AValueOf64KibFitsAndMoreDoesNot) {
  const uint64_t inode = make("a");
  const std::string value(64 * kib, 'v');
  EXPECT_EQ(set_xattr(inode, "user.big", value).error, 0);
  EXPECT_EQ(get_xattr(inode, "user.big").bytes, value);
  EXPECT_EQ(set_xattr(inode, "user.bigger", value + "v").error, E2BIG);
}

TEST_F(Xattrs, ControlAttributesAreReadByNameAndNeverListed) {
  const uint64_t inode = make("a", 1 * mib);
  write(inode, 0, std::string(8192, 'x'));
  EXPECT_TRUE(run(pool_->sync()));
  EXPECT_EQ(get_xattr(inode, "user.lamina.id").bytes, std::to_string(inode - 1));
  EXPECT_EQ(get_xattr(inode, "user.lamina.mapped").bytes, "8192");
  EXPECT_EQ(get_xattr(inode, "user.lamina.exclusive").bytes, "8192");
  EXPECT_EQ(get_xattr(inode, "user.lamina.shared").bytes, "0");
  EXPECT_EQ(get_xattr(inode, "user.lamina.reserved").bytes, "0");
  EXPECT_EQ(get_xattr(inode, "user.lamina.origin").bytes, "");
  EXPECT_EQ(get_xattr(inode, "user.lamina.tiers").bytes, "fast=8192");
  EXPECT_EQ(get_xattr(inode, "user.lamina.read_only").bytes, "0");
  const std::string created = get_xattr(inode, "user.lamina.created").bytes;
  EXPECT_EQ(created.size(), 20u);
  EXPECT_EQ(created.back(), 'Z');
  const auto all = nlohmann::json::parse(get_xattr(inode, "user.lamina").bytes);
  EXPECT_EQ(all["name"], "a");
  EXPECT_EQ(all["size"], 1 * mib);
  EXPECT_EQ(all["mapped"], 8192);
  fuse_getxattr_in in{};
  EXPECT_EQ(ask(FUSE_LISTXATTR, inode, in).as<fuse_getxattr_out>().size, 0u);
}

TEST_F(Xattrs, TheMapComesInPieces) {
  const uint64_t inode = make("a", 16 * mib);
  for (uint64_t i = 0; i < 700; ++i) write(inode, i * 8192, std::string(4096, 'x'));
  uint64_t next = 0, data = 0, pieces = 0, end = 0;
  for (bool more = true; more; ++pieces) {
    const Reply reply = get_xattr(inode, "user.lamina.map@" + std::to_string(next));
    ASSERT_EQ(reply.error, 0);
    const auto json = nlohmann::json::parse(reply.bytes);
    for (const auto& range : json["ranges"]) {
      EXPECT_EQ(range["begin"], end);
      end += range["length"].get<uint64_t>();
      if (range["state"] == "data") data += range["length"].get<uint64_t>();
    }
    more = !json["next"].is_null();
    if (more) next = json["next"];
  }
  EXPECT_EQ(end, 16 * mib);
  EXPECT_EQ(data, 700u * 4096);
  EXPECT_GT(pieces, 1u);
  EXPECT_EQ(get_xattr(inode, "user.lamina.map@x").error, EINVAL);
}

TEST_F(Xattrs, UnknownOnesAreInvalidAndWriteOnlyOnesReadAsMissing) {
  const uint64_t inode = make("a");
  EXPECT_EQ(get_xattr(inode, "user.lamina.nothing").error, EINVAL);
  EXPECT_EQ(set_xattr(inode, "user.lamina.nothing", "1").error, EINVAL);
  EXPECT_EQ(set_xattr(inode, "user.lamina.read_only", "yes").error, EINVAL);
  EXPECT_EQ(get_xattr(root, "user.lamina.sync").error, ENODATA);
  EXPECT_EQ(get_xattr(root, "user.lamina.checkpoint").error, ENODATA);
  EXPECT_EQ(get_xattr(root, "user.lamina.id").error, EINVAL);
  EXPECT_EQ(set_xattr(root, "user.lamina.sync", "1").error, 0);
  write(inode, 0, "something new");
  const uint64_t before = pool_->status().checkpoints;
  EXPECT_EQ(set_xattr(root, "user.lamina.checkpoint", "1").error, 0);
  EXPECT_GT(pool_->status().checkpoints, before);
  // An ordinary name that only begins alike.
  EXPECT_EQ(set_xattr(inode, "user.laminate", "1").error, 0);
}

TEST_F(Xattrs, OnlyRootAndTheOwnerOfTheMountMayControl) {
  const uint64_t inode = make("a");
  caller_uid_ = 4242;
  EXPECT_EQ(set_xattr(inode, "user.lamina.read_only", "1").error, EPERM);
  EXPECT_EQ(set_xattr(root, "user.lamina.sync", "1").error, EPERM);
  EXPECT_EQ(get_xattr(inode, "user.lamina.id").error, 0);
  caller_uid_ = owner_uid;
  EXPECT_EQ(set_xattr(inode, "user.lamina.read_only", "1").error, 0);
}

TEST_F(Xattrs, AnExternalOriginIsForRootAlone) {
  SimImage& image = images_.make("/images/base", std::vector<std::byte>(9000, std::byte{'x'}));
  const uint64_t inode = make("a");
  caller_uid_ = owner_uid;
  EXPECT_EQ(set_xattr(inode, "user.lamina.origin_file", "/images/base").error, EPERM);
  caller_uid_ = 0;
  EXPECT_EQ(set_xattr(inode, "user.lamina.origin_file", "/images/none").error, ENOENT);
  EXPECT_NE(pool_->status().origin_refused.find("/images/none"), std::string::npos);
  EXPECT_EQ(get_xattr(inode, "user.lamina.origin_file").bytes, "");
  EXPECT_EQ(set_xattr(inode, "user.lamina.origin_file", "/images/base").error, 0);
  EXPECT_EQ(set_xattr(inode, "user.lamina.origin_file", "/images/base").error, EEXIST);
  EXPECT_EQ(get_xattr(inode, "user.lamina.origin_file").bytes, "/images/base");
  EXPECT_EQ(get_xattr(inode, "user.lamina.mapped").bytes, "0");
  EXPECT_EQ(attributes(inode).size, 9000u);
  EXPECT_EQ(attributes(inode).blocks, 8u);  // tar takes a file of none for empty
  EXPECT_EQ(read(inode, 0, 9000).bytes, std::string(9000, 'x'));

  EXPECT_EQ(set_xattr(inode, "user.lamina.origin_accept", "1").error, EINVAL);
  ++image.mtime_ns;
  EXPECT_EQ(read(inode, 0, 9000).error, EIO);
  const uint64_t directory = lookup(".lamina").as<fuse_entry_out>().nodeid;
  const uint64_t lost = lookup("lost", directory).as<fuse_entry_out>().nodeid;
  const uint64_t handle = open_file(lost, O_RDONLY).as<fuse_open_out>().fh;
  EXPECT_EQ(read(lost, 0, 1000, handle).bytes, "0 12288 " + std::to_string(inode - 1) + " a\n");
  release(lost, O_RDONLY, handle);
  caller_uid_ = owner_uid;
  EXPECT_EQ(set_xattr(inode, "user.lamina.origin_accept", "1").error, EPERM);
  caller_uid_ = 0;
  EXPECT_EQ(set_xattr(inode, "user.lamina.origin_accept", "1").error, 0);
  EXPECT_EQ(read(inode, 0, 9000).bytes, std::string(9000, 'x'));
}

}  // namespace
}  // namespace lamina
