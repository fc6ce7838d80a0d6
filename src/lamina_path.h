// SPDX-License-Identifier: Apache-2.0
// A path that a person typed, resolved to a lamina mount and a device in it.
// Thread-safety: pure functions of the system's state.
// Errors, each with what to do: not_found; invalid: not in a lamina mount, or the mount itself
//   where a device is wanted and the other way round; io: the daemon behind the mount is gone.
#pragma once

#include <sys/stat.h>

#include <cerrno>
#include <string>

#include "base/result.h"

namespace lamina {

struct LaminaPath {
  std::string mount;  // the mount's root
  std::string name;   // of the device; empty: the mount itself
  dev_t device = 0;   // st_dev of the mount
  std::string path() const { return name.empty() ? mount : mount + "/" + name; }
};

Result<LaminaPath> find_mount(const std::string& typed);
// `must_exist` false: the name is not looked at.
Result<LaminaPath> find_device(const std::string& typed, bool must_exist);
Result<struct stat> stat_device(const LaminaPath& device);

// Extended attributes of the mount or a device: the control plane. `key` without its prefix.
Result<std::string> get_control(const LaminaPath& where, const std::string& key);
Result<> set_control(const LaminaPath& where, const std::string& key, const std::string& value);

// A file of the read-only directory .lamina in the mount.
Result<std::string> read_report(const LaminaPath& mount, const std::string& name);

// Whether the error of a call on a mount says that no daemon is behind it, or that it is just
// going.
inline bool is_dead_mount(int error_number) {
  return error_number == ENOTCONN || error_number == ECONNABORTED;
}

// Whether `path` lies in a mount whose daemon is gone: it is asked for something that the kernel
// does not answer from what it remembers, as it does a stat() for a while after the daemon died.
bool lies_in_dead_mount(const std::string& path);

// `what` failed on `path` with `error_number`: the message and the code.
std::unexpected<Error> system_error(const std::string& what, const std::string& path,
                                    int error_number);

}  // namespace lamina
