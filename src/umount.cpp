// SPDX-License-Identifier: Apache-2.0
// lamina umount: returns when everything is on the medium and the daemon has gone.
#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "file_handle.h"
#include "lamina_path.h"
#include "loop_device.h"
#include "mount_table.h"
#include "open_files.h"

namespace lamina {
namespace {

std::string users_of(const LaminaPath& mount) {
  std::string users;
  for (const LoopDevice& loop : loops_in(mount.device)) {
    users += "\n  " + loop.path() + " is attached to " + loop.file;
    for (const std::string& user : users_of_loop(loop)) users += "\n    " + user;
  }
  for (const FileUser& user : users_of_files(mount.device))
    users +=
        "\n  process " + std::to_string(user.process) + " (" + user.command + ") uses " + user.file;
  return users;
}

std::unexpected<Error> busy(const LaminaPath& mount) {
  std::string users = users_of(mount);
  if (users.empty()) users = "\n  something that this user may not see";
  return fail(Code::busy,
              mount.mount + " is in use:" + users +
                  "\nunmount what is mounted, `lamina detach` the loops, and try again");
}

// Unmounting without root is fusermount3's to allow.
int unmount_by_helper(const std::string& point) {
  const pid_t child = fork();
  if (child < 0) return errno;
  if (child == 0) {
    execlp("fusermount3", "fusermount3", "-u", point.c_str(), nullptr);
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : EPERM;
}

int unmount(const std::string& point, int flags) {
  if (umount2(point.c_str(), flags | UMOUNT_NOFOLLOW) == 0) return 0;
  const int error_number = errno;
  return error_number == EPERM ? unmount_by_helper(point) : error_number;
}

// Of the process that serves the mount; none where it does not tell.
FileHandle daemon_of(const LaminaPath& mount) {
  const auto report = read_report(mount, "status.json");
  if (!report) return {};
  const auto status = nlohmann::json::parse(*report, nullptr, false);
  if (!status.is_object() || !status.contains("pid") || !status["pid"].is_number_integer())
    return {};
  return FileHandle(
      static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(status["pid"].get<int>()), 0)));
}

void wait_until_gone(const FileHandle& daemon) {
  constexpr int patience_ms = 2000;
  pollfd ended{daemon.get(), POLLIN, 0};
  if (poll(&ended, 1, patience_ms) == 0) {
    if (isatty(STDERR_FILENO) != 0)
      std::fprintf(stderr, "lamina umount: waiting for the daemon to write everything out\n");
    while (poll(&ended, 1, -1) < 0 && errno == EINTR) {
    }
  }
}

// A mount whose daemon died: nothing can be written out any more, only the mount be taken away.
Result<ExitCode> unmount_dead(const std::string& typed) {
  const std::string point = std::filesystem::absolute(typed).lexically_normal();
  if (const int error_number = unmount(point, MNT_DETACH); error_number != 0)
    return system_error("cannot unmount", point, error_number);
  std::fprintf(
      stderr,
      "lamina umount: the daemon of %s had died; the dead mount is gone. What was synced is "
      "safe: `lamina mount` recovers it\n",
      point.c_str());
  return ExitCode::done;
}

bool is_mount_point(const LaminaPath& mount) {
  const auto table = read_mount_table();
  return std::any_of(table.begin(), table.end(), [&](const MountEntry& entry) {
    return entry.point == mount.mount && entry.type == lamina_mount_type;
  });
}

Result<ExitCode> unmount_pool(const std::string& typed, bool force) {
  if (lies_in_dead_mount(typed)) return unmount_dead(typed);
  auto mount = find_mount(typed);
  if (!mount) return forward_error(mount);
  if (!is_mount_point(*mount))
    return fail(Code::invalid, typed + " is inside a lamina mount; name the mount itself");
  if (!loops_in(mount->device).empty()) return busy(*mount);
  const FileHandle daemon = daemon_of(*mount);
  // The answer to this is the proof that everything is on the medium; the end of the daemon is
  // only the end. A read-only mount has nothing to write.
  if (const auto synced = set_control(*mount, "sync", "1");
      !synced && synced.error().code != Code::read_only && !force)
    return fail(synced.error().code,
                synced.error().message + "\nleft mounted; `lamina status " + typed +
                    "` says more, --force unmounts it and loses what is not durable");
  const int error_number = unmount(mount->mount, 0);
  if (error_number == EBUSY) return busy(*mount);
  if (error_number != 0) return system_error("cannot unmount", mount->mount, error_number);
  if (daemon) wait_until_gone(daemon);
  return ExitCode::done;
}

}  // namespace

void add_umount(CommandLine& line) {
  struct Options {
    std::string mount;
    bool force = false;
  };
  const auto options = std::make_shared<Options>();
  line.command("umount", "Unmount a pool; returns when everything is on the medium")
      .word("MOUNT", options->mount, "Where it is mounted")
      .flag("--force", options->force, "Also when a failed disk keeps that from being so")
      .example("lamina umount /mnt/pool")
      .action([options] { return unmount_pool(options->mount, options->force); });
}

}  // namespace lamina
