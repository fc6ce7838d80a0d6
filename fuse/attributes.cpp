// SPDX-License-Identifier: Apache-2.0
// GETATTR, SETATTR. Access times change when somebody sets them, and by nothing else.
#include <sys/stat.h>

#include "base/executor.h"
#include "fuse/file_system.h"

namespace lamina {
namespace {

constexpr uint64_t ns_per_s = 1'000'000'000;
constexpr uint64_t sector_bytes = 512;

void set_times(fuse_attr& attr, const Attributes& from) {
  attr.atime = from.atime_ns / ns_per_s;
  attr.mtime = from.mtime_ns / ns_per_s;
  attr.ctime = from.ctime_ns / ns_per_s;
  attr.atimensec = static_cast<uint32_t>(from.atime_ns % ns_per_s);
  attr.mtimensec = static_cast<uint32_t>(from.mtime_ns % ns_per_s);
  attr.ctimensec = static_cast<uint32_t>(from.ctime_ns % ns_per_s);
}

// Times before 1970 become 1970: they are stored without a sign.
uint64_t to_ns(uint64_t seconds, uint32_t nanoseconds) {
  if (static_cast<int64_t>(seconds) < 0) return 0;
  return std::min(seconds, UINT64_MAX / ns_per_s - 1) * ns_per_s + nanoseconds;
}

void apply(Attributes& attributes, const fuse_setattr_in& in, uint32_t mode_bits, uint64_t now) {
  if (in.valid & FATTR_MODE) attributes.mode = in.mode & mode_bits;
  if (in.valid & FATTR_UID) attributes.uid = in.uid;
  if (in.valid & FATTR_GID) attributes.gid = in.gid;
  if (in.valid & FATTR_ATIME) attributes.atime_ns = to_ns(in.atime, in.atimensec);
  if (in.valid & FATTR_MTIME) attributes.mtime_ns = to_ns(in.mtime, in.mtimensec);
  if (in.valid & FATTR_ATIME_NOW) attributes.atime_ns = now;
  if (in.valid & FATTR_MTIME_NOW) attributes.mtime_ns = now;
  attributes.ctime_ns = now;
}

// Whether `valid` asks for more than a size, whose change sets its times by itself.
bool sets_attributes(uint32_t valid) {
  return (valid & (FATTR_MODE | FATTR_UID | FATTR_GID | FATTR_ATIME | FATTR_MTIME |
                   FATTR_ATIME_NOW | FATTR_MTIME_NOW)) != 0;
}

fuse_attr_out reply_of(const fuse_attr& attr, uint64_t timeout_s) {
  fuse_attr_out out{};
  out.attr_valid = timeout_s;
  out.attr = attr;
  return out;
}

}  // namespace

fuse_attr FileSystem::attributes_of(const DeviceInfo& info) const {
  fuse_attr attr{};
  attr.ino = raw(device_inode(info.id));
  attr.size = info.size_bytes;
  attr.blocks = div_up(info.mapped_bytes, sector_bytes);
  // tar(1) takes a file of no blocks for empty without reading it, and what is read through to an
  // external origin is stored nowhere here.
  if (attr.blocks == 0 && !info.origin_files.empty()) attr.blocks = block_size / sector_bytes;
  set_times(attr, info.attributes);
  attr.mode = S_IFREG | (info.attributes.mode & permission_bits);
  attr.nlink = info.name.empty() ? 0 : 1;
  attr.uid = info.attributes.uid;
  attr.gid = info.attributes.gid;
  attr.blksize = block_size;
  return attr;
}

fuse_attr FileSystem::root_attributes() const {
  const Attributes attributes = pool_.root_attributes();
  fuse_attr attr{};
  attr.ino = raw(Inode::root);
  set_times(attr, attributes);
  attr.mode = S_IFDIR | (attributes.mode & ALLPERMS);
  attr.nlink = 2;
  attr.uid = attributes.uid;
  attr.gid = attributes.gid;
  attr.blksize = block_size;
  return attr;
}

std::optional<fuse_attr> FileSystem::attributes_of(Inode inode) const {
  if (inode == Inode::root) return root_attributes();
  if (is_virtual(inode)) return virtual_attributes(inode);
  const std::optional<DeviceId> device = inode_device(inode);
  if (!device) return std::nullopt;
  const Result<DeviceInfo> info = pool_.info(*device);
  if (!info) return std::nullopt;
  return attributes_of(*info);
}

void FileSystem::get_attributes(Request& request) {
  const std::optional<fuse_attr> attr = attributes_of(request.inode());
  if (!attr) return request.fail(ENOENT);
  // What a virtual file holds is new at every opening.
  request.answer(reply_of(*attr, is_virtual(request.inode()) ? 0 : attributes_timeout_s));
}

Task<void> FileSystem::set_attributes(Request& request) {
  const fuse_setattr_in* argument = request.argument<fuse_setattr_in>();
  const std::optional<DeviceId> device = inode_device(request.inode());
  if (argument == nullptr) co_return request.fail(EINVAL);
  if (request.inode() == Inode::root) {
    co_await set_root_attributes(request);
    co_return;
  }
  if (!device) co_return request.fail(EPERM);
  const fuse_setattr_in in = *argument;
  // An image is nothing to run: nobody else's rights may come with it.
  if ((in.valid & FATTR_MODE) && (in.mode & (S_ISUID | S_ISGID))) co_return request.fail(EPERM);

  if (in.valid & FATTR_SIZE) {
    Task<Result<>> resizing = pool_.resize(*device, in.size);
    const Result<> resized = co_await resizing;
    if (!resized) co_return request.fail(resized.error());
  }
  if (sets_attributes(in.valid)) {
    const Result<DeviceInfo> before = pool_.info(*device);
    if (!before) co_return request.fail(before.error());
    Attributes attributes = before->attributes;
    apply(attributes, in, permission_bits, Executor::current().wall_ns());
    Task<Result<>> setting = pool_.set_attributes(*device, attributes);
    const Result<> set = co_await setting;
    if (!set) co_return request.fail(set.error());
  }
  get_attributes(request);
}

Task<void> FileSystem::set_root_attributes(Request& request) {
  const fuse_setattr_in in = *request.argument<fuse_setattr_in>();
  if (in.valid & FATTR_SIZE) co_return request.fail(EISDIR);
  Attributes attributes = pool_.root_attributes();
  apply(attributes, in, ALLPERMS, Executor::current().wall_ns());
  Task<Result<>> setting = pool_.set_root_attributes(attributes);
  const Result<> set = co_await setting;
  if (!set) co_return request.fail(set.error());
  get_attributes(request);
}

}  // namespace lamina
