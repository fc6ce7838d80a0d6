// SPDX-License-Identifier: Apache-2.0
// The file system over a pool on a simulated disk, asked without a kernel: requests as bytes in,
// replies as bytes out.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/buffer.h"
#include "blobs/blob.h"
#include "blobs/sim_disk.h"
#include "blobs/sim_executor.h"
#include "blobs/sim_image.h"
#include "blobs/sim_medium.h"
#include "engine/pool.h"
#include "fuse/file_system.h"

namespace lamina {

class MountedPool : public testing::Test {
 protected:
  static constexpr uint64_t disk_bytes = 128 * mib;
  static constexpr uint64_t root = raw(Inode::root);

  MountedPool()
      : medium_("disk", disk_bytes), executor_(1), before_(Executor::set_current(&executor_)) {
    const auto plan = Blob::plan(disk_bytes, 256 * kib, 64 * kib);
    superblock_.pool_name = "tests";
    superblock_.blob = BlobId{0};
    superblock_.blob_name = "fast";
    plan->write_to(superblock_);
    superblock_.pool[0] = superblock_.blob_uuid[0] = std::byte{7};
    Attributes owner;
    owner.mode = 0755;
    owner.uid = owner_uid;
    auto blobs = open_blobs();
    EXPECT_TRUE(run(Pool::format(blobs, owner)));
    blobs.clear();
    open();
  }

  void open() {
    Settings settings;
    settings.open_image = images_.opener();
    auto opened = run(Pool::open(open_blobs(), settings));
    ASSERT_TRUE(opened) << opened.error().message;
    pool_ = std::move(*opened);
    FileSystem::Options options;
    options.version = "1.2.3";
    files_ = std::make_unique<FileSystem>(*pool_, options);
  }
  void close() {
    EXPECT_TRUE(run(pool_->close()));
    files_.reset();
    pool_.reset();
  }
  ~MountedPool() override {
    if (pool_) close();
    Executor::set_current(before_);
  }

  template <class T>
  T run(Task<T> task) {
    std::optional<T> out;
    executor_.run_until(keep(std::move(task), &out));
    return std::move(*out);
  }

  struct Reply {
    int error = 0;
    std::string bytes;
    bool silent = false;
    template <class T>
    T as(size_t offset = 0) const {
      T value{};
      EXPECT_GE(bytes.size(), offset + sizeof value) << "error " << error;
      if (bytes.size() >= offset + sizeof value)
        std::memcpy(&value, bytes.data() + offset, sizeof value);
      return value;
    }
  };

  // Body: the struct, then the rest as it is.
  Reply ask(uint32_t opcode, uint64_t inode, std::string_view body) {
    Request request;
    request.header.opcode = opcode;
    request.header.nodeid = inode;
    request.header.uid = caller_uid_;
    request.header.len = static_cast<uint32_t>(sizeof request.header + body.size());
    const auto bytes = std::as_bytes(std::span(body));
    const std::vector<std::byte> copy(bytes.begin(), bytes.end());
    request.body = copy;
    Buffer room(1 * mib);
    request.room = room.span();
    executor_.run_until(files_->dispatch(request));
    return {request.error,
            std::string(reinterpret_cast<const char*>(room.data()), request.reply_bytes),
            request.silent};
  }
  template <class Argument>
  requires std::is_trivially_copyable_v<Argument> &&
      (!std::is_convertible_v<Argument, std::string_view>)Reply
      ask(uint32_t opcode, uint64_t inode, const Argument& argument, std::string_view rest = {}) {
    std::string body(reinterpret_cast<const char*>(&argument), sizeof argument);
    body += rest;
    return ask(opcode, inode, body);
  }

  static std::string zero_ended(std::string_view text) { return std::string(text) + '\0'; }
  void initialise() {
    fuse_init_in in{};
    in.major = 7;
    in.minor = 45;
    in.flags = UINT32_MAX & ~FUSE_INIT_RESERVED;
    in.flags2 = UINT32_MAX;
    EXPECT_EQ(ask(FUSE_INIT, 0, in).error, 0);
  }
  // The inode of a new device that nobody has open.
  uint64_t make(std::string_view name, uint64_t size = 0) {
    fuse_mknod_in in{};
    in.mode = 0100644;
    const Reply reply = ask(FUSE_MKNOD, root, in, zero_ended(name));
    EXPECT_EQ(reply.error, 0);
    const uint64_t inode = reply.as<fuse_entry_out>().nodeid;
    if (size != 0) {
      fuse_setattr_in grow{};
      grow.valid = FATTR_SIZE;
      grow.size = size;
      EXPECT_EQ(ask(FUSE_SETATTR, inode, grow).error, 0);
    }
    return inode;
  }
  Reply lookup(std::string_view name, uint64_t parent = root) {
    return ask(FUSE_LOOKUP, parent, std::string_view(zero_ended(name)));
  }
  Reply write(uint64_t inode, uint64_t offset, std::string_view data, uint32_t flags = 0) {
    fuse_write_in in{};
    in.offset = offset;
    in.size = static_cast<uint32_t>(data.size());
    in.flags = flags;
    return ask(FUSE_WRITE, inode, in, data);
  }
  Reply read(uint64_t inode, uint64_t offset, uint32_t bytes, uint64_t handle = 0) {
    fuse_read_in in{};
    in.fh = handle;
    in.offset = offset;
    in.size = bytes;
    return ask(FUSE_READ, inode, in);
  }
  Reply open_file(uint64_t inode, uint32_t flags) {
    fuse_open_in in{};
    in.flags = flags;
    return ask(FUSE_OPEN, inode, in);
  }
  Reply release(uint64_t inode, uint32_t flags, uint64_t handle = 0) {
    fuse_release_in in{};
    in.fh = handle;
    in.flags = flags;
    return ask(FUSE_RELEASE, inode, in);
  }
  Reply unlink(std::string_view name) {
    return ask(FUSE_UNLINK, root, std::string_view(zero_ended(name)));
  }
  fuse_attr attributes(uint64_t inode) {
    return ask(FUSE_GETATTR, inode, fuse_getattr_in{}).as<fuse_attr_out>().attr;
  }
  Reply get_xattr(uint64_t inode, std::string_view name, uint32_t size = 65536) {
    fuse_getxattr_in in{};
    in.size = size;
    return ask(FUSE_GETXATTR, inode, in, zero_ended(name));
  }
  Reply set_xattr(uint64_t inode, std::string_view name, std::string_view value,
                  uint32_t flags = 0) {
    const std::array<uint32_t, 2> in{static_cast<uint32_t>(value.size()), flags};
    return ask(FUSE_SETXATTR, inode, in, zero_ended(name) + std::string(value));
  }

  static constexpr uint32_t owner_uid = 1000;
  uint32_t caller_uid_ = 0;
  SimImages images_;  // outside the pool
  SimMedium medium_;
  SimExecutor executor_;
  Executor* const before_;
  Superblock superblock_;
  std::unique_ptr<Pool> pool_;
  std::unique_ptr<FileSystem> files_;

 private:
  template <class T>
  static Task<void> keep(Task<T> task, std::optional<T>* out) {
    T value = co_await task;
    out->emplace(std::move(value));
  }
  Blobs open_blobs() {
    Blobs blobs;
    blobs.push_back(std::make_shared<Blob>(open_sim_disk(medium_, executor_), superblock_));
    return blobs;
  }
};

}  // namespace lamina
