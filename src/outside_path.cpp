// SPDX-License-Identifier: Apache-2.0
#include "outside_path.h"

#include <sys/stat.h>

#include <algorithm>

#include "loop_device.h"
#include "mount_table.h"

namespace lamina {
namespace {

bool lies_in(const std::string& path, const std::string& folder) {
  return path.starts_with(folder) &&
         (folder.ends_with('/') || path.size() == folder.size() || path[folder.size()] == '/');
}

// The mount that a path without links leads into; of several at one place the last.
const MountEntry* mount_of(const std::vector<MountEntry>& table, const std::string& path) {
  const MountEntry* best = nullptr;
  for (const MountEntry& entry : table)
    if (lies_in(path, entry.point) && (!best || entry.point.size() >= best->point.size()))
      best = &entry;
  return best;
}

std::unexpected<Error> refuse(const std::string& path, const std::string& why) {
  return fail(Code::invalid, path + ": " + why +
                                 ", so it would be read through itself; copy it elsewhere, or "
                                 "share it within the pool by `lamina clone`");
}

}  // namespace

Result<> check_outside_mount(const std::string& path, const std::string& mount_point) {
  const std::vector<MountEntry> table = read_mount_table();
  const auto own = std::ranges::find_if(table, [&](const MountEntry& entry) {
    return entry.point == mount_point && entry.type == lamina_mount_type;
  });
  if (own == table.end()) return {};
  const MountEntry* where = mount_of(table, path);
  if (where && where->device == own->device) return refuse(path, "lies in this pool's own mount");
  struct stat about {};
  const bool block = stat(path.c_str(), &about) == 0 && S_ISBLK(about.st_mode);
  for (const LoopDevice& loop : loops_in(own->device)) {
    for (const BlockDevice& device : devices_of_loop(loop))
      if (block && device.number == about.st_rdev)
        return refuse(path, "lies on " + loop.path() + ", a loop over a device of this pool");
    for (const LoopMount& mounted : mounts_of_loop(loop))
      if (where && mounted.mount.device == where->device)
        return refuse(path, "lies in " + mounted.mount.point + ", which is mounted from " +
                                mounted.from + ", over a device of this pool");
  }
  return {};
}

}  // namespace lamina
