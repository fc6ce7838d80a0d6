// SPDX-License-Identifier: Apache-2.0
// OPEN, CREATE, MKNOD, RELEASE. What a request needs is in its inode, its flags and its handle, so
// that it means the same to a daemon that was started since: a handle of a device is O_DSYNC, if it
// was opened so, for the requests that do not say so by themselves.
#include <fcntl.h>
#include <sys/stat.h>

#include "base/executor.h"
#include "fuse/file_system.h"

namespace lamina {
namespace {

bool for_writing(uint32_t flags) {
  return (flags & O_ACCMODE) != O_RDONLY;
}

}  // namespace

Task<Result<>> FileSystem::open_device(DeviceId id, uint32_t flags) {
  LAMINA_CO_TRY(pool_.open_device(id, for_writing(flags)));
  if (!(flags & O_TRUNC)) co_return Result<>{};
  Task<Result<>> emptying = pool_.truncate_to_empty(id);
  Result<> emptied = co_await emptying;
  if (emptied) co_return Result<>{};
  Task<Result<>> closing = pool_.close_device(id, for_writing(flags));
  (void)co_await closing;  // the first error is the one to tell
  co_return forward_error(emptied);
}

Task<void> FileSystem::open(Request& request) {
  const fuse_open_in* in = request.argument<fuse_open_in>();
  if (in == nullptr) co_return request.fail(EINVAL);
  if (is_virtual(request.inode())) {
    Task<void> opening = open_virtual(request);
    co_return co_await opening;
  }
  const std::optional<DeviceId> device = inode_device(request.inode());
  if (!device) co_return request.fail(EISDIR);
  Task<Result<>> opening = open_device(*device, in->flags);
  const Result<> opened = co_await opening;
  if (!opened) co_return request.fail(opened.error());
  fuse_open_out out{};
  out.fh = in->flags & O_DSYNC;
  out.open_flags = open_flags_;
  request.answer(out);
}

Attributes FileSystem::new_attributes(const Request& request, uint32_t mode) const {
  const Attributes root = pool_.root_attributes();
  Attributes attributes;
  attributes.mode = mode & permission_bits;
  attributes.uid = request.header.uid;
  attributes.gid = (root.mode & S_ISGID) ? root.gid : request.header.gid;
  attributes.atime_ns = attributes.mtime_ns = attributes.ctime_ns = Executor::current().wall_ns();
  return attributes;
}

Task<void> FileSystem::create(Request& request) {
  const fuse_create_in* in = request.argument<fuse_create_in>();
  size_t offset = sizeof(fuse_create_in);
  bool ok = in != nullptr;
  const std::string name(request.text(offset, ok));
  if (!ok) co_return request.fail(EINVAL);
  if (request.inode() != Inode::root) co_return request.fail(EPERM);

  const uint32_t flags = in->flags;
  const Attributes attributes = new_attributes(request, in->mode);
  Task<Result<DeviceInfo>> creating = pool_.create(name, 0, attributes);
  Result<DeviceInfo> device = co_await creating;
  // Somebody else was first, between the kernel's look-up and now.
  if (!device && device.error().code == Code::exists && !(flags & O_EXCL))
    device = pool_.find(name);
  if (!device) co_return request.fail(device.error());
  Task<Result<>> opening = open_device(device->id, flags);
  const Result<> opened = co_await opening;
  if (!opened) co_return request.fail(opened.error());
  fuse_open_out out{};
  out.fh = flags & O_DSYNC;
  out.open_flags = open_flags_;
  request.answer(entry_of(*device), out);
}

Task<void> FileSystem::make_node(Request& request) {
  const fuse_mknod_in* in = request.argument<fuse_mknod_in>();
  size_t offset = sizeof(fuse_mknod_in);
  bool ok = in != nullptr;
  const std::string name(request.text(offset, ok));
  if (!ok) co_return request.fail(EINVAL);
  if (request.inode() != Inode::root || !S_ISREG(in->mode)) co_return request.fail(EPERM);
  const Attributes attributes = new_attributes(request, in->mode);
  Task<Result<DeviceInfo>> creating = pool_.create(name, 0, attributes);
  const Result<DeviceInfo> device = co_await creating;
  if (!device) co_return request.fail(device.error());
  request.answer(entry_of(*device));
}

Task<void> FileSystem::release(Request& request) {
  const fuse_release_in* in = request.argument<fuse_release_in>();
  if (in == nullptr) co_return request.fail(EINVAL);
  if (is_virtual(request.inode())) co_return release_virtual(in->fh);
  const std::optional<DeviceId> device = inode_device(request.inode());
  if (!device) co_return request.fail(EBADF);
  Task<Result<>> closing = pool_.close_device(*device, for_writing(in->flags));
  const Result<> closed = co_await closing;
  if (!closed) request.fail(closed.error());
}

}  // namespace lamina
