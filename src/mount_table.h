// SPDX-License-Identifier: Apache-2.0
// What is mounted where, as this process sees it.
// Thread-safety: pure functions of the system's state.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

namespace lamina {

struct MountEntry {
  dev_t device = 0;   // st_dev of everything in it
  std::string point;  // where
  std::string type;   // "ext4", "fuse.lamina"
  std::string source;
};

std::vector<MountEntry> read_mount_table();
// The same from text in the form of /proc/self/mountinfo; lines that do not parse are left out.
std::vector<MountEntry> parse_mount_table(std::string_view text);

inline constexpr std::string_view lamina_mount_type = "fuse.lamina";

}  // namespace lamina
