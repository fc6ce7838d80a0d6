// SPDX-License-Identifier: Apache-2.0
#include "lamina_path.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "engine/pool.h"
#include "mount_table.h"

namespace lamina {
namespace {

constexpr const char* control_prefix = "user.lamina.";

Code code_of(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENODATA:
      return Code::not_found;
    case EEXIST:
      return Code::exists;
    case EPERM:
      return Code::not_permitted;
    case EACCES:
      return Code::access;
    case EROFS:
      return Code::read_only;
    case EBUSY:
      return Code::busy;
    case ENOSPC:
      return Code::no_space;
    case EFBIG:
    case E2BIG:
      return Code::too_big;
    case ENAMETOOLONG:
      return Code::name_too_long;
    case EINVAL:
      return Code::invalid;
    case EOPNOTSUPP:
      return Code::unsupported;
    default:
      return Code::io;
  }
}

std::string advice(int error_number) {
  if (is_dead_mount(error_number))
    return "; the daemon behind it is gone: `lamina umount` it, then mount it again";
  switch (error_number) {
    case ENOSPC:
      return "; the pool is full: remove or discard something";
    case EROFS:
      return "; the pool or the device is read-only: `lamina status` says why";
    case EFBIG:
      return "; a device has at most 1P";
    case EPERM:
      return "; only root, or the owner of the mount's root directory, may do this";
    default:
      return "";
  }
}

struct Split {
  std::string folder, name;
};

Split split(std::string typed) {
  while (typed.size() > 1 && typed.back() == '/') typed.pop_back();
  const size_t slash = typed.rfind('/');
  if (slash == std::string::npos) return {".", typed};
  return {slash == 0 ? "/" : typed.substr(0, slash), typed.substr(slash + 1)};
}

Result<std::string> canonical(const std::string& typed) {
  std::array<char, PATH_MAX> resolved{};
  if (realpath(typed.c_str(), resolved.data()) == nullptr)
    return system_error("cannot look up", typed, errno);
  return std::string(resolved.data());
}

}  // namespace

std::unexpected<Error> system_error(const std::string& what, const std::string& path,
                                    int error_number) {
  return fail(code_of(error_number),
              what + " " + path + ": " + std::strerror(error_number) + advice(error_number));
}

bool lies_in_dead_mount(const std::string& path) {
  struct statfs unused {};
  return statfs(path.c_str(), &unused) != 0 && is_dead_mount(errno);
}

Result<LaminaPath> find_mount(const std::string& typed) {
  auto path = canonical(typed);
  if (!path) return forward_error(path);
  struct stat status {};
  if (stat(path->c_str(), &status) != 0) return system_error("cannot look up", typed, errno);
  const auto table = read_mount_table();
  const auto mounted = std::find_if(table.rbegin(), table.rend(), [&](const MountEntry& entry) {
    return entry.device == status.st_dev && entry.type == lamina_mount_type;
  });
  if (mounted != table.rend() && lies_in_dead_mount(*path))
    return system_error("cannot look up", typed, ENOTCONN);
  if (mounted == table.rend() || access((mounted->point + "/.lamina/version").c_str(), F_OK) != 0)
    return fail(Code::invalid, typed +
                                   " is not in a lamina mount; `findmnt -t fuse.lamina` lists "
                                   "them, `lamina mount POOL MOUNTPOINT` makes one");
  if (!S_ISDIR(status.st_mode))
    return fail(Code::invalid, typed + " is a device; the mount is " + mounted->point);
  return LaminaPath{*path, "", status.st_dev};
}

Result<LaminaPath> find_device(const std::string& typed, bool must_exist) {
  const Split parts = split(typed);
  auto found = find_mount(parts.folder);
  if (!found) {
    // The mount itself, typed where a device is wanted, lies in no mount; say so.
    if (const auto mount = find_mount(typed))
      return fail(Code::invalid,
                  typed + " is a lamina mount; name a device in it: " + typed + "/NAME");
    if (found.error().code == Code::invalid)
      return fail(Code::invalid, parts.folder +
                                     " is not a lamina mount; `findmnt -t fuse.lamina` "
                                     "lists them, `lamina mount POOL MOUNTPOINT` makes "
                                     "one");
    return found;
  }
  found->name = parts.name;
  if (const auto checked = check_device_name(found->name); !checked)
    return fail(checked.error().code,
                "\"" + found->name + "\" cannot be a device: " + checked.error().message);
  if (must_exist) {
    if (const auto status = stat_device(*found); !status)
      return fail(status.error().code, status.error().message);
  }
  return found;
}

Result<struct stat> stat_device(const LaminaPath& device) {
  struct stat status {};
  if (stat(device.path().c_str(), &status) == 0) return status;
  if (errno == ENOENT)
    return fail(Code::not_found, "there is no device \"" + device.name + "\" in " + device.mount +
                                     "; `lamina ls " + device.mount + "` lists them");
  return system_error("cannot look up", device.path(), errno);
}

Result<std::string> get_control(const LaminaPath& where, const std::string& key) {
  const std::string name = key.empty() ? "user.lamina" : control_prefix + key;
  std::string value(64 * 1024, '\0');  // the longest that Linux allows
  const ssize_t length = getxattr(where.path().c_str(), name.c_str(), value.data(), value.size());
  if (length < 0 && errno == EINVAL)
    return fail(Code::invalid, where.path() + " has no control attribute " + name +
                                   "; `lamina get " + where.path() + "` lists what it has");
  if (length < 0 && errno == ENODATA)
    return fail(Code::not_found, name + " of " + where.path() + " can only be set");
  if (length < 0) return system_error("cannot read " + name + " of", where.path(), errno);
  value.resize(static_cast<size_t>(length));
  return value;
}

Result<> set_control(const LaminaPath& where, const std::string& key, const std::string& value) {
  const std::string name = control_prefix + key;
  if (setxattr(where.path().c_str(), name.c_str(), value.data(), value.size(), 0) == 0) return {};
  if (errno == EINVAL)
    return fail(Code::invalid, "cannot set " + name + " of " + where.path() + " to \"" + value +
                                   "\": there is no such attribute to set, or it takes no such "
                                   "value");
  return system_error("cannot set " + name + " of", where.path(), errno);
}

Result<std::string> read_report(const LaminaPath& mount, const std::string& name) {
  const std::string path = mount.mount + "/.lamina/" + name;
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return system_error("cannot read", path, errno);
  std::string text;
  std::array<char, 65536> part{};
  ssize_t got = 0;
  while ((got = read(file, part.data(), part.size())) > 0)
    text.append(part.data(), static_cast<size_t>(got));
  const int error_number = errno;
  close(file);
  if (got < 0) return system_error("cannot read", path, error_number);
  return text;
}

}  // namespace lamina
