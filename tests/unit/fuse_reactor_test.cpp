// SPDX-License-Identifier: Apache-2.0
// A reactor and a pool in a file, with a socket in the place of /dev/fuse: both transports, in less
// memory than the requests need.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <set>
#include <thread>

#include "blobs/blob.h"
#include "blobs/file_disk.h"
#include "fuse/reactor.h"

namespace lamina {
namespace {

constexpr uint64_t pool_bytes = 128 * mib;
// Four large slots and eight small ones.
constexpr size_t slot_bytes = 1 * mib;
// More than these, and no more than a socket holds.
constexpr int outstanding = 14;

struct Message {
  fuse_out_header header{};
  std::vector<char> data;
};

// The kernel's side of the socket.
class Kernel {
 public:
  explicit Kernel(int fd) : fd_(fd) {}
  ~Kernel() { close(fd_); }

  uint64_t send(uint32_t opcode, uint64_t inode, const void* body, size_t bytes,
                std::string_view rest = {}) {
    fuse_in_header header{};
    header.len = static_cast<uint32_t>(sizeof header + bytes + rest.size());
    header.opcode = opcode;
    header.unique = ++unique_;
    header.nodeid = inode;
    std::string message(reinterpret_cast<const char*>(&header), sizeof header);
    message.append(static_cast<const char*>(body), bytes).append(rest);
    EXPECT_EQ(::send(fd_, message.data(), message.size(), 0), static_cast<ssize_t>(message.size()));
    return unique_;
  }
  Message receive() {
    std::vector<char> buffer(64 * kib);
    const ssize_t bytes = recv(fd_, buffer.data(), buffer.size(), 0);
    Message message;
    EXPECT_GE(bytes, static_cast<ssize_t>(sizeof message.header));
    std::memcpy(&message.header, buffer.data(), sizeof message.header);
    EXPECT_EQ(message.header.len, bytes);
    message.data.assign(buffer.begin() + sizeof message.header, buffer.begin() + bytes);
    return message;
  }
  void write(uint64_t inode, uint64_t offset, std::string_view data) {
    fuse_write_in in{};
    in.offset = offset;
    in.size = static_cast<uint32_t>(data.size());
    send(FUSE_WRITE, inode, &in, sizeof in, data);
  }
  void sync(uint64_t inode) {
    const fuse_fsync_in in{};
    send(FUSE_FSYNC, inode, &in, sizeof in);
  }
  uint64_t read(uint64_t inode, uint64_t offset, uint32_t bytes) {
    fuse_read_in in{};
    in.offset = offset;
    in.size = bytes;
    return send(FUSE_READ, inode, &in, sizeof in);
  }

 private:
  const int fd_;
  uint64_t unique_ = 0;
};

class Transport : public testing::TestWithParam<bool> {
 protected:
  Transport() {
    folder_ = "/var/tmp/lamina-reactor.XXXXXX";
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
    EXPECT_TRUE(create_disk_file(folder_ + "/pool", pool_bytes));
    auto loop = UringLoop::create({});
    EXPECT_TRUE(loop);
    loop_ = std::move(*loop);
    const auto plan = Blob::plan(pool_bytes, 0, 64 * kib);
    superblock_.blob = BlobId{0};
    superblock_.blob_name = "fast";
    plan->write_to(superblock_);
    superblock_.pool[0] = superblock_.blob_uuid[0] = std::byte{7};
    {
      auto blobs = open_blobs();
      EXPECT_TRUE(loop_->run_until(Pool::format(blobs, Attributes{})));
    }
    auto pool = loop_->run_until(Pool::open(open_blobs(), Settings{}));
    EXPECT_TRUE(pool);
    pool_ = std::move(*pool);
    files_ = std::make_unique<FileSystem>(*pool_, FileSystem::Options{});
  }
  ~Transport() override {
    EXPECT_TRUE(loop_->run_until(pool_->close()));
    reactor_.reset();
    pool_.reset();
    close(server_fd_);
    std::filesystem::remove_all(folder_);
  }

  // Serves until `client` returns and its side of the socket is closed.
  void serve(void (*client)(Kernel&)) {
    int fds[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);  // as /dev/fuse is
    server_fd_ = fds[0];
    auto reactor = Reactor::create(*loop_, *files_, server_fd_, slot_bytes, GetParam(),
                                   [this] { loop_->stop(); });
    ASSERT_TRUE(reactor);
    reactor_ = std::move(*reactor);
    std::thread thread([fd = fds[1], client] {
      Kernel kernel(fd);
      client(kernel);
    });
    reactor_->start();
    loop_->run();
    thread.join();
    EXPECT_EQ(reactor_->failed(), 0u);
  }

  bool can_run() { return !GetParam() || has_multishot_read(*loop_); }

 private:
  Blobs open_blobs() {
    std::shared_ptr<Disk> disk = std::move(*open_file_disk(folder_ + "/pool", {}));
    Blobs blobs;
    blobs.push_back(std::make_shared<Blob>(disk, superblock_));
    return blobs;
  }

  std::string folder_;
  Superblock superblock_;
  std::unique_ptr<UringLoop> loop_;
  std::unique_ptr<Pool> pool_;
  std::unique_ptr<FileSystem> files_;
  std::unique_ptr<Reactor> reactor_;
  int server_fd_ = -1;
};

uint64_t make_device(Kernel& kernel) {
  fuse_mknod_in in{};
  in.mode = 0100600;
  kernel.send(FUSE_MKNOD, 1, &in, sizeof in, std::string_view("disk\0", 5));
  const Message reply = kernel.receive();
  EXPECT_EQ(reply.header.error, 0);
  fuse_entry_out entry{};
  EXPECT_EQ(reply.data.size(), sizeof entry);
  std::memcpy(&entry, reply.data.data(), sizeof entry);
  return entry.nodeid;
}

std::string block_of(int number) {
  return std::string(4096, static_cast<char>('A' + number));
}

TEST_P(Transport, MoreRequestsThanSlotsAreAllAnsweredOnce) {
  if (!can_run()) GTEST_SKIP() << "this kernel has no multishot read";
  serve([](Kernel& kernel) {
    const uint64_t inode = make_device(kernel);
    for (int round = 0; round < 20; ++round) {
      std::set<uint64_t> seen;
      for (int i = 0; i < outstanding; ++i) {
        if (i % 2 == 0)
          kernel.write(inode, static_cast<uint64_t>(i) * 4096, block_of(i));
        else
          kernel.sync(inode);
      }
      for (int i = 0; i < outstanding; ++i) {
        const Message reply = kernel.receive();
        EXPECT_EQ(reply.header.error, 0);
        EXPECT_TRUE(seen.insert(reply.header.unique).second);
      }
    }
  });
}

TEST_P(Transport, RepliesCarryTheDataOfTheirOwnRequest) {
  if (!can_run()) GTEST_SKIP() << "this kernel has no multishot read";
  serve([](Kernel& kernel) {
    const uint64_t inode = make_device(kernel);
    for (int i = 0; i < outstanding; ++i) {
      kernel.write(inode, static_cast<uint64_t>(i) * 4096, block_of(i));
      EXPECT_EQ(kernel.receive().header.error, 0);
    }
    for (int round = 0; round < 50; ++round) {
      const uint64_t first = kernel.read(inode, 0, 4096);
      for (int i = 1; i < outstanding; ++i)
        kernel.read(inode, static_cast<uint64_t>(i) * 4096, 4096);
      for (int i = 0; i < outstanding; ++i) {
        const Message reply = kernel.receive();
        const std::string expected = block_of(static_cast<int>(reply.header.unique - first));
        EXPECT_EQ(std::string(reply.data.begin(), reply.data.end()), expected);
      }
    }
  });
}

TEST_P(Transport, ForgettingIsNotAnsweredAndCostsNoSlot) {
  if (!can_run()) GTEST_SKIP() << "this kernel has no multishot read";
  serve([](Kernel& kernel) {
    const fuse_forget_in in{};
    for (int i = 0; i < 100; ++i) kernel.send(FUSE_FORGET, 2, &in, sizeof in);
    EXPECT_NE(make_device(kernel), 0u);
  });
}

INSTANTIATE_TEST_SUITE_P(Both, Transport, testing::Values(true, false),
                         [](const auto& which) { return which.param ? "Multishot" : "Poll"; });

}  // namespace
}  // namespace lamina
