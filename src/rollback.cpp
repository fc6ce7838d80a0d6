// SPDX-License-Identifier: Apache-2.0
// lamina rollback: a device becomes as one of its snapshots is.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstdio>

#include "commands.h"
#include "file_handle.h"
#include "fork_target.h"
#include "loop_device.h"
#include "open_files.h"

namespace lamina {
namespace {

struct RollbackOptions {
  std::string device, snapshot;
  bool force = false;
};

// Writes back and forgets what the kernel keeps of the loop's content.
Result<> drop_buffers(const std::vector<LoopDevice>& loops) {
  for (const LoopDevice& loop : loops) {
    const FileHandle device(open(loop.path().c_str(), O_RDONLY | O_CLOEXEC));
    if (!device) return system_error("cannot open", loop.path(), errno);
    if (ioctl(device.get(), BLKFLSBUF, 0) != 0)
      return system_error("cannot drop the buffers of", loop.path(), errno);
  }
  return {};
}

std::unexpected<Error> busy(const LaminaPath& device, const struct stat& status,
                            const std::vector<LoopDevice>& loops) {
  std::string users;
  for (const LoopDevice& loop : loops) users += "\n  " + loop.path() + " is attached to it";
  for (const FileUser& user : users_of_files(status.st_dev, status.st_ino))
    users += "\n  process " + std::to_string(user.process) + " (" + user.command + ") has it open";
  return fail(Code::busy, "cannot roll back " + device.path() + " while it is open:" + users +
                              "\nend that first, or add --force");
}

Result<ExitCode> roll_back(const RollbackOptions& options) {
  auto device = find_device(options.device, true);
  if (!device) return forward_error(device);
  auto snapshot = name_beside(*device, options.snapshot, "roll back");
  if (!snapshot) return forward_error(snapshot);
  const LaminaPath source{device->mount, *snapshot, device->device};
  if (auto there = stat_device(source); !there) return forward_error(there);
  auto status = stat_device(*device);
  if (!status) return forward_error(status);
  const auto loops = loops_over(status->st_dev, status->st_ino);
  if (options.force) LAMINA_TRY(drop_buffers(loops));
  auto done = set_control(*device, options.force ? "rollback_force" : "rollback", *snapshot);
  if (!done && done.error().code == Code::busy) return busy(*device, *status, loops);
  if (!done && done.error().code == Code::invalid)
    return fail(Code::invalid, "cannot roll back " + device->path() + " to " + source.path() +
                                   ": the one is no snapshot of the other");
  if (!done) return forward_error(done);
  LAMINA_TRY(drop_buffers(loops));
  for (const LoopDevice& loop : loops) {
    LAMINA_TRY(refresh_loop_size(loop));
    for (const std::string& user : users_of_loop(loop))
      std::printf(
          "%s: %s; it knows nothing of the rollback: unmount it, without syncing what it "
          "has, before you use it again\n",
          loop.path().c_str(), user.c_str());
  }
  return ExitCode::done;
}

}  // namespace

void add_rollback(CommandLine& line) {
  const auto options = std::make_shared<RollbackOptions>();
  line.command("rollback", "Make a device what one of its snapshots is")
      .word("DEVICE", options->device, "MOUNT/NAME")
      .word("SNAPSHOT", options->snapshot, "The snapshot, which stays as it is")
      .flag("--force", options->force, "Although something has it open")
      .example("lamina rollback /mnt/pool/vm1 vm1@monday")
      .action([options] { return roll_back(*options); });
}

}  // namespace lamina
