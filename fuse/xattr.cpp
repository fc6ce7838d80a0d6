// SPDX-License-Identifier: Apache-2.0
// GETXATTR, LISTXATTR, SETXATTR, REMOVEXATTR. user.*, trusted.* and security.* are kept with the
// device; user.lamina is the control plane (control.cpp). The kernel itself keeps trusted.* from
// those without CAP_SYS_ADMIN, except in listings.
#include <sys/xattr.h>

#include "fuse/control.h"
#include "fuse/file_system.h"

namespace lamina {
namespace {

// security.capability is refused, as the suid bit is: nothing runs from this mount, and every write
// would have to take it away again.
bool may_be_stored(std::string_view name) {
  if (name == "security.capability") return false;
  return name.starts_with("user.") || name.starts_with("trusted.") || name.starts_with("security.");
}

// Of an attribute: what is missing is the attribute, and what is too big is its value.
int xattr_errno(Code code) {
  if (code == Code::not_found) return ENODATA;
  if (code == Code::too_big) return E2BIG;
  return errno_of(code);
}

// A caller who asks with size 0 wants to know how long it is.
void answer_sized(Request& request, std::string_view value, uint32_t asked) {
  if (asked == 0) {
    fuse_getxattr_out out{};
    out.size = static_cast<uint32_t>(value.size());
    return request.answer(out);
  }
  if (value.size() > asked) return request.fail(ERANGE);
  // Longer than any attribute may be; the kernel asks for no more than that.
  if (value.size() > request.room.size()) return request.fail(E2BIG);
  request.answer_bytes(value);
}

}  // namespace

Task<void> FileSystem::get_xattr(Request& request) {
  const fuse_getxattr_in* in = request.argument<fuse_getxattr_in>();
  size_t offset = sizeof(fuse_getxattr_in);
  bool ok = in != nullptr;
  const std::string name(request.text(offset, ok));
  if (!ok) co_return request.fail(EINVAL);
  const uint32_t asked = in->size;
  if (is_control_name(name)) {
    Task<Result<std::string>> getting = get_control(request, name);
    const Result<std::string> value = co_await getting;
    if (!value) co_return request.fail(xattr_errno(value.error().code));
    co_return answer_sized(request, *value, asked);
  }
  if (name.starts_with("system.")) co_return request.fail(EOPNOTSUPP);
  const std::optional<DeviceId> device = inode_device(request.inode());
  if (!device) co_return request.fail(ENODATA);
  const Result<std::string> value = pool_.get_xattr(*device, name);
  if (!value) co_return request.fail(xattr_errno(value.error().code));
  answer_sized(request, *value, asked);
}

Task<void> FileSystem::list_xattrs(Request& request) {
  const fuse_getxattr_in* in = request.argument<fuse_getxattr_in>();
  if (in == nullptr) co_return request.fail(EINVAL);
  const uint32_t asked = in->size;
  std::string list;
  if (const std::optional<DeviceId> device = inode_device(request.inode())) {
    for (const std::string& name : pool_.list_xattrs(*device)) {
      if (request.header.uid != 0 && name.starts_with("trusted.")) continue;
      list += name;
      list += '\0';
    }
  }
  answer_sized(request, list, asked);
}

Task<void> FileSystem::set_xattr(Request& request) {
  // The short form of the header: FUSE_SETXATTR_EXT is not negotiated.
  const auto* in = request.argument<std::array<uint32_t, 2>>();
  size_t offset = FUSE_COMPAT_SETXATTR_IN_SIZE;
  bool ok = in != nullptr;
  const std::string name(request.text(offset, ok));
  if (!ok || request.body.size() - offset < (*in)[0]) co_return request.fail(EINVAL);
  std::string value(reinterpret_cast<const char*>(request.body.data()) + offset, (*in)[0]);
  const uint32_t flags = (*in)[1];

  if (is_control_name(name)) {
    Task<Result<>> controlling = set_control(request, name, std::move(value));
    const Result<> done = co_await controlling;
    if (!done) request.fail(done.error());
    co_return;
  }
  const std::optional<DeviceId> device = inode_device(request.inode());
  if (!device || !may_be_stored(name)) co_return request.fail(EOPNOTSUPP);
  Task<Result<>> setting = pool_.set_xattr(
      *device, name, std::move(value), (flags & XATTR_CREATE) != 0, (flags & XATTR_REPLACE) != 0);
  const Result<> set = co_await setting;
  if (!set) request.fail(xattr_errno(set.error().code));
}

Task<void> FileSystem::remove_xattr(Request& request) {
  size_t offset = 0;
  bool ok = true;
  const std::string name(request.text(offset, ok));
  if (!ok) co_return request.fail(EINVAL);
  if (is_control_name(name)) co_return request.fail(EPERM);
  if (name.starts_with("system.")) co_return request.fail(EOPNOTSUPP);
  const std::optional<DeviceId> device = inode_device(request.inode());
  if (!device) co_return request.fail(ENODATA);
  Task<Result<>> removing = pool_.remove_xattr(*device, name);
  const Result<> removed = co_await removing;
  if (!removed) request.fail(xattr_errno(removed.error().code));
}

}  // namespace lamina
