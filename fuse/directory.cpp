// SPDX-License-Identifier: Apache-2.0
// OPENDIR, READDIR, READDIRPLUS. The cookie of an entry is its device's inode number, so that a
// listing goes on at the right place whatever was created or removed meanwhile. `.lamina` is found
// by name and not listed.
#include <dirent.h>

#include <algorithm>

#include "base/executor.h"
#include "fuse/file_system.h"
#include "fuse/virtual_files.h"

namespace lamina {
namespace {

// A listing of many devices takes many calls; they look at one copy of the names for so long.
constexpr uint64_t listing_lives_ns = 10'000'000'000;
constexpr uint64_t dot_cookie = 0, dot_dot_cookie = 1;
constexpr uint64_t last_dot_cookie = raw(device_inode(DeviceId::none));

// Packs entries into a reply until it is full.
class DirectoryPacker {
 public:
  DirectoryPacker(std::span<std::byte> room, bool plus) : room_(room), plus_(plus) {}

  // False where there is no room for it. `entry` with node id 0 is not looked up by the kernel.
  bool add(std::string_view name, uint64_t inode, uint32_t type, uint64_t cookie,
           const fuse_entry_out& entry) {
    const size_t fixed = (plus_ ? sizeof(fuse_entry_out) : 0) + FUSE_NAME_OFFSET;
    const size_t bytes = round_up(fixed + name.size(), sizeof(uint64_t));
    if (bytes > room_.size() - used_) return false;
    std::byte* at = room_.data() + used_;
    std::memset(at, 0, bytes);
    if (plus_) {
      std::memcpy(at, &entry, sizeof entry);
      at += sizeof entry;
    }
    fuse_dirent dirent{};
    dirent.ino = inode;
    dirent.off = cookie;
    dirent.namelen = static_cast<uint32_t>(name.size());
    dirent.type = type;
    std::memcpy(at, &dirent, FUSE_NAME_OFFSET);
    std::memcpy(at + FUSE_NAME_OFFSET, name.data(), name.size());
    used_ += bytes;
    return true;
  }
  size_t used() const { return used_; }

 private:
  std::span<std::byte> room_;
  const bool plus_;
  size_t used_ = 0;
};

}  // namespace

void FileSystem::open_directory(Request& request) {
  if (inode_device(request.inode())) return request.fail(ENOTDIR);
  request.answer(fuse_open_out{});
}

FileSystem::Listing FileSystem::listing(bool from_start) {
  const uint64_t now = Executor::current().now_ns();
  {
    Lock lock(mutex_);
    if (!from_start && listing_ && now - listed_ns_ < listing_lives_ns) return listing_;
  }
  auto names = std::make_shared<std::vector<ListedName>>();
  std::vector<DeviceInfo> devices = pool_.list();
  names->reserve(devices.size());
  for (DeviceInfo& device : devices)
    if (!device.name.empty()) names->push_back({device.id, std::move(device.name)});
  Lock lock(mutex_);
  listing_ = names;
  listed_ns_ = now;
  return names;
}

void FileSystem::read_directory(Request& request, bool plus) {
  const fuse_read_in* argument = request.argument<fuse_read_in>();
  if (argument == nullptr) return request.fail(EINVAL);
  const fuse_read_in in = *argument;
  DirectoryPacker packer(request.room.first(std::min<size_t>(in.size, request.room.size())), plus);

  const uint64_t self = raw(request.inode());
  bool room = true;
  if (in.offset <= dot_cookie) room = packer.add(".", self, DT_DIR, dot_dot_cookie, {});
  if (room && in.offset <= dot_dot_cookie)
    room = packer.add("..", raw(Inode::root), DT_DIR, last_dot_cookie + 1, {});

  if (is_virtual(request.inode())) {
    // Cookies go on behind those of the dots.
    uint64_t cookie = last_dot_cookie + 1;
    for (const VirtualFile& file : virtual_files) {
      if (room && in.offset <= cookie)
        room = packer.add(file.name, raw(file.inode), DT_REG, cookie + 1, {});
      ++cookie;
    }
  } else {
    const Listing names = listing(in.offset <= dot_dot_cookie);
    const DeviceId after{in.offset <= last_dot_cookie + 1 ? 0 : in.offset - 2};
    for (auto at = std::ranges::upper_bound(*names, after, {}, &ListedName::id);
         room && at != names->end(); ++at) {
      // The names may be some seconds old; what is gone since, or renamed, is not told as it was.
      const Result<DeviceInfo> info = pool_.info(at->id);
      if (!info || info->name.empty()) continue;
      const uint64_t inode = raw(device_inode(at->id));
      room = packer.add(info->name, inode, DT_REG, inode + 1,
                        plus ? entry_of(*info) : fuse_entry_out{});
    }
  }
  request.reply_bytes = packer.used();
}

}  // namespace lamina
