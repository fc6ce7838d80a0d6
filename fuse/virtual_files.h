// SPDX-License-Identifier: Apache-2.0
// The files of the directory `.lamina`: what a running pool tells of itself. Generated when opened.
// Thread-safety: constants.
#pragma once

#include <array>
#include <string_view>

#include "fuse/inode.h"

namespace lamina {

struct VirtualFile {
  std::string_view name;
  Inode inode;
};

inline constexpr Inode status_inode{first_virtual_inode + 1};
inline constexpr Inode metrics_inode{first_virtual_inode + 2};
inline constexpr Inode lost_inode{first_virtual_inode + 3};
inline constexpr Inode version_inode{first_virtual_inode + 4};
inline constexpr Inode check_inode{first_virtual_inode + 5};

inline constexpr std::array<VirtualFile, 5> virtual_files{{
    {"status.json", status_inode},
    {"lamina.prom", metrics_inode},
    {"lost", lost_inode},
    {"version", version_inode},
    {"check.json", check_inode},
}};

}  // namespace lamina
