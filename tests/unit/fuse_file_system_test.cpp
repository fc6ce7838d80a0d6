// SPDX-License-Identifier: Apache-2.0
// What each request means, asked without a kernel.
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include "fuse/file_system.h"
#include "fuse_test_pool.h"

namespace lamina {
namespace {

using Files = MountedPool;

std::string pattern(size_t bytes, char seed = 'a') {
  std::string text(bytes, seed);
  for (size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(seed + i % 23);
  return text;
}

TEST_F(Files, WhatWasWrittenIsRead) {
  const uint64_t inode = make("disk");
  const std::string data = pattern(10'000);
  const Reply written = write(inode, 4'000, data);
  EXPECT_EQ(written.as<fuse_write_out>().size, data.size());
  EXPECT_EQ(read(inode, 4'000, 20'000).bytes, data);
  EXPECT_EQ(read(inode, 0, 4'000).bytes, std::string(4'000, '\0'));
  EXPECT_EQ(read(inode, 14'000, 10).bytes, "");
  EXPECT_EQ(attributes(inode).size, 14'000u);
}

TEST_F(Files, AWriteWithODsyncIsFlushedBeforeTheReply) {
  const uint64_t inode = make("disk");
  EXPECT_EQ(ask(FUSE_FSYNC, inode, fuse_fsync_in{}).error, 0);
  const uint64_t before = medium_.flushes();
  EXPECT_EQ(write(inode, 0, pattern(4096)).error, 0);
  EXPECT_EQ(medium_.flushes(), before);
  for (const uint32_t flags : {uint32_t{O_DSYNC}, uint32_t{O_SYNC}}) {
    const uint64_t flushes = medium_.flushes();
    EXPECT_EQ(write(inode, 0, pattern(4096, 'b'), flags | O_WRONLY).error, 0);
    EXPECT_GT(medium_.flushes(), flushes);
  }
}

TEST_F(Files, BlocksCountWhatHoldsData) {
  const uint64_t inode = make("disk", 10 * mib);
  EXPECT_EQ(attributes(inode).blocks, 0u);
  write(inode, 0, pattern(8192));
  write(inode, 1 * mib, std::string(8192, '\0'));
  EXPECT_TRUE(run(pool_->sync()));
  EXPECT_EQ(attributes(inode).blocks, 16u);
}

TEST_F(Files, NamesAreFoundMovedAndRemoved) {
  const uint64_t inode = make("a");
  EXPECT_EQ(lookup("a").as<fuse_entry_out>().nodeid, inode);
  EXPECT_EQ(lookup("b").error, ENOENT);
  EXPECT_EQ(lookup(std::string(256, 'x')).error, ENAMETOOLONG);
  make("b");
  fuse_rename2_in rename{};
  rename.newdir = root;
  rename.flags = RENAME_NOREPLACE;
  const std::string names = zero_ended("a") + zero_ended("b");
  EXPECT_EQ(ask(FUSE_RENAME2, root, rename, names).error, EEXIST);
  rename.flags = RENAME_EXCHANGE;
  EXPECT_EQ(ask(FUSE_RENAME2, root, rename, names).error, EINVAL);
  rename.flags = 0;
  EXPECT_EQ(ask(FUSE_RENAME2, root, rename, names).error, 0);
  EXPECT_EQ(lookup("b").as<fuse_entry_out>().nodeid, inode);
  EXPECT_EQ(lookup("a").error, ENOENT);
  EXPECT_EQ(unlink("b").error, 0);
  EXPECT_EQ(unlink("b").error, ENOENT);
}

TEST_F(Files, WhatIsRemovedWhileOpenLivesUntilTheLastClose) {
  const uint64_t inode = make("a");
  EXPECT_EQ(open_file(inode, O_RDWR).error, 0);
  write(inode, 0, "still here");
  EXPECT_EQ(unlink("a").error, 0);
  EXPECT_EQ(read(inode, 0, 100).bytes, "still here");
  EXPECT_EQ(attributes(inode).nlink, 0u);
  EXPECT_EQ(release(inode, O_RDWR).error, 0);
  EXPECT_EQ(ask(FUSE_GETATTR, inode, fuse_getattr_in{}).error, ENOENT);
}

TEST_F(Files, InodeNumbersOutliveAMount) {
  const uint64_t first = make("a"), second = make("b");
  unlink("a");
  close();
  open();
  EXPECT_EQ(lookup("b").as<fuse_entry_out>().nodeid, second);
  const uint64_t third = make("c");
  EXPECT_NE(third, first);
  EXPECT_NE(third, second);
}

TEST_F(Files, ReservedAndBadNamesAreRefused) {
  fuse_mknod_in in{};
  in.mode = S_IFREG | 0600;
  for (const std::string_view name : {".lamina", ".lamina2", "a\nb", "\xff\xfe"})
    EXPECT_EQ(ask(FUSE_MKNOD, root, in, zero_ended(name)).error, EINVAL) << name;
  EXPECT_EQ(ask(FUSE_MKNOD, root, in, zero_ended(std::string(256, 'x'))).error, ENAMETOOLONG);
  EXPECT_EQ(unlink(".lamina").error, EPERM);
}

TEST_F(Files, AFlatDirectoryOfRegularFilesIsAllThereIs) {
  fuse_mknod_in fifo{};
  fifo.mode = S_IFIFO | 0600;
  EXPECT_EQ(ask(FUSE_MKNOD, root, fifo, zero_ended("f")).error, EPERM);
  for (const uint32_t opcode : {FUSE_MKDIR, FUSE_LINK, FUSE_SYMLINK})
    EXPECT_EQ(ask(opcode, root, fuse_mkdir_in{}, zero_ended("d")).error, EPERM);
}

TEST_F(Files, CreateMakesAndOpensOrOpensWhatIsThere) {
  fuse_create_in in{};
  in.flags = O_RDWR | O_CREAT;
  in.mode = S_IFREG | S_ISUID | 0640;
  const Reply made = ask(FUSE_CREATE, root, in, zero_ended("a"));
  const fuse_entry_out entry = made.as<fuse_entry_out>();
  EXPECT_EQ(entry.attr.mode, uint32_t{S_IFREG | 0640});
  EXPECT_TRUE(made.as<fuse_open_out>(sizeof entry).open_flags & FOPEN_DIRECT_IO);
  write(entry.nodeid, 0, "text");
  const Reply again = ask(FUSE_CREATE, root, in, zero_ended("a"));
  EXPECT_EQ(again.as<fuse_entry_out>().nodeid, entry.nodeid);
  EXPECT_EQ(read(entry.nodeid, 0, 9).bytes, "text");
  in.flags |= O_EXCL;
  EXPECT_EQ(ask(FUSE_CREATE, root, in, zero_ended("a")).error, EEXIST);
}

TEST_F(Files, OTruncEmpties) {
  const uint64_t inode = make("a");
  write(inode, 0, pattern(9000));
  EXPECT_EQ(open_file(inode, O_WRONLY | O_TRUNC).error, 0);
  EXPECT_EQ(attributes(inode).size, 0u);
  write(inode, 8192, "x");
  EXPECT_EQ(read(inode, 0, 4).bytes, std::string(4, '\0'));
}

TEST_F(Files, ShrinkingAndGrowingAgainReadsZeroes) {
  const uint64_t inode = make("a");
  write(inode, 0, pattern(8192));
  fuse_setattr_in in{};
  in.valid = FATTR_SIZE;
  for (const uint64_t size : {100u, 8192u}) {
    in.size = size;
    EXPECT_EQ(ask(FUSE_SETATTR, inode, in).error, 0);
  }
  EXPECT_EQ(read(inode, 0, 8192).bytes, pattern(100) + std::string(8092, '\0'));
  in.size = max_device_bytes + 1;
  EXPECT_EQ(ask(FUSE_SETATTR, inode, in).error, EFBIG);
}

TEST_F(Files, AttributesAreKeptAndSuidRefused) {
  const uint64_t inode = make("a");
  fuse_setattr_in in{};
  in.valid = FATTR_MODE | FATTR_UID | FATTR_GID | FATTR_MTIME;
  in.mode = S_IFREG | 0604;
  in.uid = 5;
  in.gid = 6;
  in.mtime = 1'000'000;
  in.mtimensec = 7;
  EXPECT_EQ(ask(FUSE_SETATTR, inode, in).error, 0);
  const fuse_attr attr = attributes(inode);
  EXPECT_EQ(attr.mode, uint32_t{S_IFREG | 0604});
  EXPECT_EQ(attr.uid, 5u);
  EXPECT_EQ(attr.gid, 6u);
  EXPECT_EQ(attr.mtime, 1'000'000u);
  EXPECT_EQ(attr.mtimensec, 7u);
  in.mode = S_IFREG | S_ISUID | 0755;
  EXPECT_EQ(ask(FUSE_SETATTR, inode, in).error, EPERM);
}

TEST_F(Files, TheRootKeepsOwnerAndMode) {
  fuse_setattr_in in{};
  in.valid = FATTR_MODE | FATTR_UID;
  in.mode = S_IFDIR | 01770;
  in.uid = 77;
  EXPECT_EQ(ask(FUSE_SETATTR, root, in).error, 0);
  close();
  open();
  EXPECT_EQ(attributes(root).mode, uint32_t{S_IFDIR | 01770});
  EXPECT_EQ(attributes(root).uid, 77u);
}

fuse_fallocate_in range(uint32_t mode, uint64_t offset, uint64_t length) {
  fuse_fallocate_in in{};
  in.mode = mode;
  in.offset = offset;
  in.length = length;
  return in;
}

TEST_F(Files, PunchedAndZeroedRangesReadZeroes) {
  const uint64_t inode = make("a");
  const std::string data = pattern(16'384);
  for (const uint32_t mode : {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
                              FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE}) {
    write(inode, 0, data);
    EXPECT_EQ(ask(FUSE_FALLOCATE, inode, range(mode, 100, 9'000)).error, 0);
    EXPECT_EQ(read(inode, 0, 16'384).bytes,
              data.substr(0, 100) + std::string(9'000, '\0') + data.substr(9'100));
  }
}

TEST_F(Files, ZeroRangeGrowsUnlessItKeepsTheSize) {
  const uint64_t inode = make("a", 4096);
  const uint32_t keep = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
  EXPECT_EQ(ask(FUSE_FALLOCATE, inode, range(keep, 0, 8192)).error, 0);
  EXPECT_EQ(attributes(inode).size, 4096u);
  EXPECT_EQ(ask(FUSE_FALLOCATE, inode, range(FALLOC_FL_ZERO_RANGE, 0, 8192)).error, 0);
  EXPECT_EQ(attributes(inode).size, 8192u);
}

TEST_F(Files, PreallocationReservesAndGrowsUnlessItKeepsTheSize) {
  const uint64_t inode = make("a");
  EXPECT_EQ(ask(FUSE_FALLOCATE, inode, range(FALLOC_FL_KEEP_SIZE, 0, 1 * mib)).error, 0);
  EXPECT_EQ(attributes(inode).size, 0u);
  EXPECT_EQ(ask(FUSE_FALLOCATE, inode, range(0, 0, 1 * mib)).error, 0);
  EXPECT_EQ(attributes(inode).size, 1 * mib);
  EXPECT_EQ(attributes(inode).blocks, 0u);
  EXPECT_EQ(get_xattr(inode, "user.lamina.reserved").bytes, std::to_string(1 * mib));
  EXPECT_EQ(ask(FUSE_FALLOCATE, inode, range(0, 0, 100 * disk_bytes)).error, ENOSPC);
  EXPECT_EQ(ask(FUSE_FALLOCATE, inode, range(0, max_device_bytes, 1)).error, EFBIG);
}

TEST_F(Files, DataAndHolesAreFoundToTheBlock) {
  const uint64_t inode = make("a", 100'000);
  write(inode, 20'480, pattern(8192));
  auto seek = [&](uint64_t offset, uint32_t whence) {
    fuse_lseek_in in{};
    in.offset = offset;
    in.whence = whence;
    return ask(FUSE_LSEEK, inode, in);
  };
  EXPECT_EQ(seek(0, SEEK_DATA).as<fuse_lseek_out>().offset, 20'480u);
  EXPECT_EQ(seek(20'481, SEEK_DATA).as<fuse_lseek_out>().offset, 20'481u);
  EXPECT_EQ(seek(20'480, SEEK_HOLE).as<fuse_lseek_out>().offset, 28'672u);
  EXPECT_EQ(seek(0, SEEK_HOLE).as<fuse_lseek_out>().offset, 0u);
  EXPECT_EQ(seek(28'672, SEEK_DATA).error, ENXIO);
  EXPECT_EQ(seek(100'000, SEEK_HOLE).error, ENXIO);
  write(inode, 98'304, pattern(1'696));
  EXPECT_EQ(seek(98'304, SEEK_HOLE).as<fuse_lseek_out>().offset, 100'000u);
}

TEST_F(Files, AReadOnlyDeviceIsNotOpenedForWriting) {
  const uint64_t inode = make("a");
  write(inode, 0, "text");
  EXPECT_EQ(open_file(inode, O_WRONLY).error, 0);
  EXPECT_EQ(set_xattr(inode, "user.lamina.read_only", "1").error, EBUSY);
  EXPECT_EQ(release(inode, O_WRONLY).error, 0);
  EXPECT_EQ(set_xattr(inode, "user.lamina.read_only", "1").error, 0);
  EXPECT_EQ(open_file(inode, O_RDWR).error, EROFS);
  EXPECT_EQ(open_file(inode, O_RDONLY | O_TRUNC).error, EROFS);
  EXPECT_EQ(open_file(inode, O_RDONLY).error, 0);
  EXPECT_EQ(read(inode, 0, 9).bytes, "text");
  EXPECT_EQ(set_xattr(inode, "user.note", "still mine").error, 0);
  EXPECT_EQ(release(inode, O_RDONLY).error, 0);
  EXPECT_EQ(unlink("a").error, 0);
}

TEST_F(Files, DfShowsThePool) {
  const fuse_kstatfs st = ask(FUSE_STATFS, root, std::string_view{}).as<fuse_statfs_out>().st;
  EXPECT_EQ(st.bsize, 4096u);
  EXPECT_EQ(st.frsize, 4096u);
  EXPECT_GT(st.bfree, 0u);
  EXPECT_LE(st.bfree * 4096, disk_bytes);
  EXPECT_EQ(st.bfree * 4096, pool_->status().free);
}

TEST_F(Files, CopiesAreAnsweredInBothWidths) {
  const uint64_t from = make("a"), to = make("b"), third = make("c", 1 * mib);
  const std::string data = pattern(20'000);
  write(from, 0, data);
  fuse_copy_file_range_in in{};
  in.nodeid_out = to;
  in.len = 1 * tib;
  EXPECT_EQ(ask(copy_file_range_64, from, in).as<uint64_t>(), 20'000u);
  EXPECT_EQ(read(to, 0, 30'000).bytes, data);
  EXPECT_EQ(attributes(to).blocks, attributes(from).blocks);
  in.nodeid_out = third;
  in.off_in = 4096;
  in.off_out = 8192;
  EXPECT_EQ(ask(FUSE_COPY_FILE_RANGE, from, in).as<fuse_write_out>().size, 15'904u);
  EXPECT_EQ(read(third, 8192, 15'904).bytes, data.substr(4096));
  in.flags = 1;
  EXPECT_EQ(ask(FUSE_COPY_FILE_RANGE, from, in).error, EINVAL);
  in.flags = 0;
  in.nodeid_out = from;
  EXPECT_EQ(ask(copy_file_range_64, from, in).error, EINVAL) << "over itself";
  in.nodeid_out = root;
  EXPECT_EQ(ask(copy_file_range_64, from, in).error, EXDEV);
  EXPECT_EQ(set_xattr(to, "user.lamina.read_only", "1").error, 0);
  in.nodeid_out = to;
  EXPECT_EQ(ask(copy_file_range_64, from, in).error, EROFS);
}

TEST_F(Files, WhatIsNotKnownIsNotImplementedAndForgettingIsSilent) {
  constexpr uint32_t statx = 52, none = 9999;
  for (const uint32_t opcode : std::initializer_list<uint32_t>{
           FUSE_POLL, FUSE_INTERRUPT, FUSE_IOCTL, FUSE_GETLK, FUSE_TMPFILE, statx, none})
    EXPECT_EQ(ask(opcode, root, std::string_view{}).error, ENOSYS) << opcode;
  EXPECT_TRUE(ask(FUSE_FORGET, root, fuse_forget_in{}).silent);
}

TEST_F(Files, ShortAndUnendedRequestsAreRefused) {
  const uint64_t inode = make("a");
  for (uint32_t opcode = 1; opcode < 54; ++opcode)
    for (const std::string_view body : {std::string_view{}, std::string_view("abc")})
      (void)ask(opcode, inode, body);  // and nothing is read that is not there
  EXPECT_EQ(ask(FUSE_LOOKUP, root, std::string_view("no zero")).error, EINVAL);
  fuse_write_in in{};
  in.size = 100;
  EXPECT_EQ(ask(FUSE_WRITE, inode, in, "short").error, EINVAL);
  fuse_read_in large{};
  large.size = 2 * mib;
  EXPECT_EQ(ask(FUSE_READ, inode, large).error, EINVAL);
}

}  // namespace
}  // namespace lamina
