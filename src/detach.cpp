// SPDX-License-Identifier: Apache-2.0
// lamina detach: takes away the loop device over a device of the pool.
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "commands.h"
#include "lamina_path.h"
#include "loop_device.h"
#include "mount_table.h"

namespace lamina {
namespace {

constexpr unsigned loop_major = 7;

// The loops that `typed` means: /dev/loopN itself, or those over MOUNT/NAME.
Result<std::vector<LoopDevice>> loops_meant(const std::string& typed) {
  struct stat status {};
  if (stat(typed.c_str(), &status) == 0 && S_ISBLK(status.st_mode)) {
    const auto attached = attached_loops();
    const auto loop = std::find_if(attached.begin(), attached.end(), [&](const LoopDevice& each) {
      struct stat node {};
      return stat(each.path().c_str(), &node) == 0 && node.st_rdev == status.st_rdev;
    });
    if (loop == attached.end())
      return fail(Code::not_found, major(status.st_rdev) == loop_major
                                       ? typed + " is not attached to anything"
                                       : typed + " is not a loop device");
    const auto mounts = read_mount_table();
    const bool ours = std::any_of(mounts.begin(), mounts.end(), [&](const MountEntry& mount) {
      return mount.device == loop->file_device && mount.type == lamina_mount_type;
    });
    if (!ours)
      return fail(Code::invalid, typed + " is over " + loop->file +
                                     ", which is in no lamina mount; left alone (`losetup -d` "
                                     "detaches it)");
    return std::vector<LoopDevice>{*loop};
  }
  if (typed.starts_with("/dev/")) return fail(Code::not_found, "there is no block device " + typed);
  auto device = find_device(typed, true);
  if (!device) return forward_error(device);
  auto found = stat_device(*device);
  if (!found) return forward_error(found);
  auto loops = loops_over(found->st_dev, found->st_ino);
  if (loops.empty()) return fail(Code::not_found, device->path() + " is not attached");
  return loops;
}

}  // namespace

void add_detach(CommandLine& line) {
  const auto typed = std::make_shared<std::string>();
  line.command("detach", "Take the loop device away; the device and its data stay")
      .word("DEVICE", *typed, "MOUNT/NAME or /dev/loopN")
      .example("lamina detach /mnt/pool/vm1")
      .action([typed]() -> Result<ExitCode> {
        auto loops = loops_meant(*typed);
        if (!loops) return forward_error(loops);
        for (const LoopDevice& loop : *loops) LAMINA_TRY(detach_loop(loop));
        return ExitCode::done;
      });
}

}  // namespace lamina
