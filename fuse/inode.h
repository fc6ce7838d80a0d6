// SPDX-License-Identifier: Apache-2.0
// Inode numbers of the mount. They are permanent: a device's is its id plus one, so that a daemon
// that starts again under a running guest means the same file by the same number, and what the
// kernel forgets need not be counted.
// Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>

#include "base/units.h"

namespace lamina {

enum class Inode : uint64_t { root = 1 };

// The virtual directory and, behind it, its files; above every device.
inline constexpr uint64_t first_virtual_inode = uint64_t{1} << 62;
inline constexpr Inode control_directory{first_virtual_inode};

constexpr Inode device_inode(DeviceId id) {
  return Inode{raw(id) + 1};
}
constexpr bool is_virtual(Inode inode) {
  return raw(inode) >= first_virtual_inode;
}
// None for the root and what is virtual.
constexpr std::optional<DeviceId> inode_device(Inode inode) {
  if (raw(inode) <= raw(Inode::root) || is_virtual(inode)) return std::nullopt;
  return DeviceId{raw(inode) - 1};
}

}  // namespace lamina
