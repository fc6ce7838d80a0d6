// SPDX-License-Identifier: Apache-2.0
// Requests of FUSE as fuse/ parses them: a few of them in a row, to a small pool on a simulated
// disk. A kernel does not lie, but what it hands on is a program's: names, attributes and their
// values, offsets, lengths. So nothing may crash, no reply may be longer than its room, and the
// pool must still be one afterwards: a recovery of what lies on the disk has the same names.
//
// An input is message after message: the opcode, whose inode, who asks, how long the body is in two
// bytes, and the body, which ends where the input does. The memory of a body has no byte more than
// that, so that an argument that is read beyond it is seen.
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/buffer.h"
#include "base/check.h"
#include "blobs/blob.h"
#include "blobs/sim_disk.h"
#include "blobs/sim_executor.h"
#include "blobs/sim_image.h"
#include "blobs/sim_medium.h"
#include "decoders.h"
#include "engine/pool.h"
#include "fuse/file_system.h"
#include "fuse/virtual_files.h"

namespace lamina::fuzz {
namespace {

constexpr uint64_t disk_bytes = 64 * mib;
constexpr size_t most_messages = 24;
constexpr uint32_t owner_uid = 1000;
constexpr std::array<uint64_t, 10> inodes{raw(Inode::root),
                                          raw(device_inode(DeviceId{1})),
                                          raw(device_inode(DeviceId{2})),
                                          raw(device_inode(DeviceId{3})),
                                          raw(control_directory),
                                          raw(status_inode),
                                          raw(lost_inode),
                                          raw(check_inode),
                                          0,
                                          UINT64_MAX};
constexpr std::array<uint32_t, 3> callers{0, owner_uid, 4711};
constexpr size_t large_room = 256 * kib;

struct Head {
  std::byte opcode, inode, caller, length_low, length_high;
};

Superblock superblock() {
  Superblock block;
  block.pool_name = "fuzzed";
  block.blob = BlobId{0};
  block.blob_name = "fast";
  block.pool[0] = block.blob_uuid[0] = std::byte{7};
  const auto plan = Blob::plan(disk_bytes, 256 * kib, 64 * kib);
  LAMINA_CHECK(plan);
  plan->write_to(block);
  return block;
}

// A pool that serves, from what lies on a medium, until it is closed or the power goes.
class Serving {
 public:
  explicit Serving(SimMedium& medium)
      : medium_(medium), before_(Executor::set_current(&executor_)) {}
  ~Serving() { Executor::set_current(before_); }

  Blobs blobs() {
    return {std::make_shared<Blob>(open_sim_disk(medium_, executor_), superblock())};
  }
  void open() {
    Settings settings;
    settings.nodes_bytes = settings.layers_bytes = settings.tail_bytes = settings.sums_bytes =
        settings.frames_bytes = 4 * mib;
    settings.open_image = images_.opener();
    auto opened = wait(Pool::open(blobs(), settings));
    LAMINA_CHECK(opened);
    pool_ = std::move(*opened);
    FileSystem::Options options;
    options.version = "1.2.3";
    options.write_back = [](DeviceId) -> Task<void> { co_return; };
    files_ = std::make_unique<FileSystem>(*pool_, options);
  }
  void close() {
    LAMINA_CHECK(wait(pool_->close()));
    files_.reset();
    pool_.reset();
  }
  template <class T>
  T wait(Task<T> task) {
    T out{};
    LAMINA_CHECK(executor_.run_until(std::move(task), out));
    return out;
  }
  void ask(const Head& head, std::span<const std::byte> bytes) {
    const auto body = std::make_unique<std::byte[]>(bytes.size());
    std::ranges::copy(bytes, body.get());
    Request request;
    request.header.len = static_cast<uint32_t>(sizeof request.header + bytes.size());
    request.header.opcode = std::to_integer<uint32_t>(head.opcode);
    request.header.nodeid = inodes[std::to_integer<size_t>(head.inode) % inodes.size()];
    request.header.uid = callers[std::to_integer<size_t>(head.caller) % callers.size()];
    request.body = {body.get(), bytes.size()};
    const bool large = (head.caller & std::byte{0x80}) == std::byte{0};
    Buffer room(large ? large_room : Request::min_room);
    request.room = room.span();
    LAMINA_CHECK(executor_.run_until(files_->dispatch(request)));
    LAMINA_CHECK(request.error >= 0 && request.error < 4096);
    LAMINA_CHECK(request.reply_bytes <= request.room.size());
    LAMINA_CHECK(request.error == 0 || request.reply_bytes == 0);
  }
  std::set<std::string> names() const {
    std::set<std::string> out;
    for (const DeviceInfo& info : pool_->list()) out.insert(info.name);
    return out;
  }
  Pool& pool() { return *pool_; }

 private:
  SimMedium& medium_;
  SimExecutor executor_{1};
  Executor* const before_;
  SimImages images_;
  std::unique_ptr<Pool> pool_;
  std::unique_ptr<FileSystem> files_;
};

const SimMedium& formatted() {
  static const std::unique_ptr<SimMedium> medium = [] {
    auto made = std::make_unique<SimMedium>("disk", disk_bytes);
    Serving serving(*made);
    Attributes owner;
    owner.mode = 0755;
    owner.uid = owner_uid;
    Blobs blobs = serving.blobs();
    LAMINA_CHECK(serving.wait(Pool::format(blobs, owner)));
    return made;
  }();
  return *medium;
}

void decode_requests(std::span<const std::byte> bytes) {
  const std::unique_ptr<SimMedium> medium = formatted().clone();
  std::unique_ptr<SimMedium> after;
  std::set<std::string> names;
  {
    Serving serving(*medium);
    serving.open();
    for (size_t i = 0; i < most_messages && bytes.size() >= sizeof(Head); ++i) {
      Head head;
      std::memcpy(&head, bytes.data(), sizeof head);
      bytes = bytes.subspan(sizeof head);
      const size_t length =
          std::to_integer<size_t>(head.length_low) | std::to_integer<size_t>(head.length_high) << 8;
      const auto body = bytes.first(std::min(length, bytes.size()));
      bytes = bytes.subspan(body.size());
      serving.ask(head, body);
    }
    LAMINA_CHECK(serving.wait(serving.pool().sync()));
    names = serving.names();
    names.erase("");  // removed while open
    after = medium->clone();
    serving.close();
  }
  std::mt19937_64 random(1);
  after->power_cut(random);
  after->begin_life();
  Serving again(*after);
  again.open();
  LAMINA_CHECK(again.names() == names);
  again.close();
}

class Messages {
 public:
  template <class Argument>
  Messages& add(uint32_t opcode, uint8_t inode, const Argument& argument,
                std::string_view rest = {}) {
    const auto fixed = std::as_bytes(std::span(&argument, 1));
    Bytes body(fixed.begin(), fixed.end());
    const auto text = std::as_bytes(std::span(rest));
    body.insert(body.end(), text.begin(), text.end());
    return add(opcode, inode, body);
  }
  Messages& add(uint32_t opcode, uint8_t inode, std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    return add(opcode, inode, Bytes(bytes.begin(), bytes.end()));
  }
  Bytes take() { return std::move(bytes_); }

 private:
  Messages& add(uint32_t opcode, uint8_t inode, const Bytes& body) {
    const std::array head{static_cast<std::byte>(opcode), std::byte{inode}, std::byte{0},
                          static_cast<std::byte>(body.size()),
                          static_cast<std::byte>(body.size() >> 8)};
    bytes_.insert(bytes_.end(), head.begin(), head.end());
    bytes_.insert(bytes_.end(), body.begin(), body.end());
    return *this;
  }
  Bytes bytes_;
};

std::string zero_ended(std::string_view text) {
  return std::string(text) + '\0';
}

// The first device of the pool, as the first of each input.
Messages with_device(uint64_t size) {
  Messages messages;
  fuse_create_in create{};
  create.flags = 2;
  create.mode = 0100600;
  messages.add(FUSE_CREATE, 0, create, zero_ended("disk"));
  fuse_setattr_in grow{};
  grow.valid = FATTR_SIZE | FATTR_MODE | FATTR_MTIME;
  grow.size = size;
  grow.mode = 0640;
  messages.add(FUSE_SETATTR, 1, grow);
  return messages;
}

Bytes of_data() {
  Messages messages = with_device(8 * mib);
  fuse_write_in write{};
  write.offset = 4000;
  write.size = 5000;
  messages.add(FUSE_WRITE, 1, write, std::string(5000, 'x'));
  fuse_copy_file_range_in copy{};
  copy.nodeid_out = inodes[1];
  copy.off_out = 1 * mib;
  copy.len = 8192;
  messages.add(FUSE_COPY_FILE_RANGE, 1, copy).add(copy_file_range_64, 1, copy);
  for (const uint32_t mode : {0u, 1u, 3u, 0x10u, 0x11u}) {
    fuse_fallocate_in allocate{};
    allocate.offset = 4096;
    allocate.length = 10'000;
    allocate.mode = mode;
    messages.add(FUSE_FALLOCATE, 1, allocate);
  }
  fuse_lseek_in seek{};
  seek.whence = 3;
  messages.add(FUSE_LSEEK, 1, seek).add(FUSE_FSYNC, 1, fuse_fsync_in{});
  fuse_read_in read{};
  read.size = 9000;
  return messages.add(FUSE_READ, 1, read).add(FUSE_RELEASE, 1, fuse_release_in{}).take();
}

Bytes of_names() {
  Messages messages = with_device(0);
  fuse_mknod_in node{};
  node.mode = 0100600;
  messages.add(FUSE_MKNOD, 0, node, zero_ended("b"));
  messages.add(FUSE_LOOKUP, 0, zero_ended("disk")).add(FUSE_LOOKUP, 0, zero_ended(".lamina"));
  fuse_rename_in rename{};
  rename.newdir = inodes[0];
  messages.add(FUSE_RENAME, 0, rename, zero_ended("disk") + zero_ended("c"));
  fuse_rename2_in rename2{};
  rename2.newdir = inodes[0];
  rename2.flags = 1;
  messages.add(FUSE_RENAME2, 0, rename2, zero_ended("b") + zero_ended("a"));
  fuse_read_in list{};
  list.size = 4096;
  messages.add(FUSE_OPENDIR, 0, fuse_open_in{}).add(FUSE_READDIR, 0, list);
  messages.add(FUSE_READDIRPLUS, 0, list).add(FUSE_READDIR, 4, list);
  messages.add(FUSE_UNLINK, 0, zero_ended("a")).add(FUSE_STATFS, 0, "");
  messages.add(FUSE_GETATTR, 1, fuse_getattr_in{}).add(FUSE_GETATTR, 0, fuse_getattr_in{});
  messages.add(FUSE_OPEN, 5, fuse_open_in{})
      .add(FUSE_READ, 5, list)
      .add(FUSE_OPEN, 7, fuse_open_in{});
  fuse_init_in init{};
  init.major = 7;
  init.minor = 45;
  return messages.add(FUSE_INIT, 0, init).add(FUSE_FSYNCDIR, 0, fuse_fsync_in{}).take();
}

void set(Messages& messages, uint8_t inode, std::string_view name, std::string_view value) {
  const std::array<uint32_t, 2> in{static_cast<uint32_t>(value.size()), 0};
  messages.add(FUSE_SETXATTR, inode, in, zero_ended(name) + std::string(value));
}

void get(Messages& messages, uint8_t inode, std::string_view name) {
  fuse_getxattr_in in{};
  in.size = 4096;
  messages.add(FUSE_GETXATTR, inode, in, zero_ended(name));
}

Bytes of_attributes() {
  Messages messages = with_device(1 * mib);
  set(messages, 1, "user.note", "some text");
  get(messages, 1, "user.note");
  messages.add(FUSE_LISTXATTR, 1, fuse_getxattr_in{});
  messages.add(FUSE_REMOVEXATTR, 1, zero_ended("user.note"));
  set(messages, 1, "user.lamina.snapshot", "snap");
  set(messages, 1, "user.lamina.tier", "auto");
  set(messages, 1, "user.lamina.rollback_force", "snap");
  set(messages, 1, "user.lamina.read_only", "1");
  set(messages, 1, "user.lamina.origin_file", "/srv/base.raw");
  for (const char* name :
       {"user.lamina", "user.lamina.tiers", "user.lamina.map@4096", "user.lamina.id"})
    get(messages, 1, name);
  return messages.take();
}

Bytes of_the_root() {
  Messages messages = with_device(1 * mib);
  set(messages, 0, "user.lamina.snapshot_all", "-1");
  set(messages, 0, "user.lamina.snapshot_some", "-2\ndisk\n");
  for (const char* name : {"checkpoint", "sync", "walk", "defrag", "scrub", "check", "grow"})
    set(messages, 0, std::string("user.lamina.") + name, "1");
  set(messages, 0, "user.lamina.check", "data");
  set(messages, 0, "user.lamina.blob_add", "slow\npool: a\n");
  set(messages, 0, "user.lamina.blob_evacuate", "fast");
  get(messages, 0, "user.lamina");
  get(messages, 0, "user.lamina.reverse@1048576@fast");
  return messages.take();
}

std::vector<Bytes> requests() {
  return {of_data(), of_names(), of_attributes(), of_the_root()};
}

}  // namespace

std::span<const Decoder> decoders_of_requests() {
  static const Decoder all[] = {{"requests", requests, decode_requests, 10}};
  return all;
}

}  // namespace lamina::fuzz
