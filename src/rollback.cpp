// SPDX-License-Identifier: Apache-2.0
// lamina rollback: a device becomes as one of its snapshots is.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
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

Result<> drop_buffers_of(const BlockDevice& device) {
  const FileHandle handle(open(device.path().c_str(), O_RDONLY | O_CLOEXEC));
  if (!handle) return system_error("cannot open", device.path(), errno);
  if (ioctl(handle.get(), BLKFLSBUF, 0) != 0)
    return system_error("cannot drop the buffers of", device.path(), errno);
  return {};
}

// Writes back and forgets what the kernel keeps of the loops' content: for the whole, for each
// partition and for what is made of them, what lies above first.
Result<> drop_buffers(const std::vector<LoopDevice>& loops) {
  for (const LoopDevice& loop : loops) {
    std::vector<BlockDevice> devices = devices_of_loop(loop);
    std::reverse(devices.begin(), devices.end());
    for (const BlockDevice& device : devices) LAMINA_TRY(drop_buffers_of(device));
  }
  return {};
}

// Who has a view of the loop's content that knows nothing of a rollback: a line each.
std::vector<std::string> users_above(const LoopDevice& loop) {
  std::vector<std::string> users = users_of_loop(loop);
  for (const BlockDevice& device : devices_of_loop(loop))
    for (const FileUser& user : users_of_block_device(device.number))
      users.push_back("process " + std::to_string(user.process) + " (" + user.command + ") has " +
                      device.path() + " open");
  return users;
}

std::unexpected<Error> busy(const LaminaPath& device, const struct stat& status,
                            const std::vector<LoopDevice>& loops) {
  std::string users;
  for (const LoopDevice& loop : loops) {
    users += "\n  " + loop.path() + " is attached to it";
    for (const std::string& user : users_above(loop)) users += "\n    " + user;
  }
  for (const FileUser& user : users_of_files(status.st_dev, status.st_ino))
    users += "\n  process " + std::to_string(user.process) + " (" + user.command + ") has it open";
  return fail(Code::busy, "cannot roll back " + device.path() + " while it is open:" + users +
                              "\nend that first; or add --force, and what is still mounted then "
                              "writes over what was rolled back");
}

// No system call makes a file system forget what it has to write.
void warn_of_users(const struct stat& status, const std::vector<LoopDevice>& loops) {
  bool any = false;
  for (const FileUser& user : users_of_files(status.st_dev, status.st_ino)) {
    std::printf("process %d (%s) has it open\n", user.process, user.command.c_str());
    any = true;
  }
  for (const LoopDevice& loop : loops)
    for (const std::string& user : users_above(loop)) {
      std::printf("%s: %s\n", loop.path().c_str(), user.c_str());
      any = true;
    }
  if (any)
    std::printf(
        "these know nothing of the rollback, and what they still write, as a file system does when "
        "it is unmounted, goes over what was rolled back: unmount and close them, then roll back "
        "again\n");
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
  // What is dirty belongs to the old content: none of it may be written after the rollback.
  if (options.force) LAMINA_TRY(drop_buffers(loops));
  auto done = set_control(*device, options.force ? "rollback_force" : "rollback", *snapshot);
  if (!done && done.error().code == Code::busy) return busy(*device, *status, loops);
  if (!done && done.error().code == Code::invalid)
    return fail(Code::invalid, "cannot roll back " + device->path() + " to " + source.path() +
                                   ": the one is no snapshot of the other");
  if (!done) return forward_error(done);
  LAMINA_TRY(drop_buffers(loops));
  for (const LoopDevice& loop : loops) LAMINA_TRY(refresh_loop_size(loop));
  warn_of_users(*status, loops);
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
