// SPDX-License-Identifier: Apache-2.0
// lamina snapshot: devices as they are at one moment; of one device, of several or of all.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>
#include <csignal>

#include "commands.h"
#include "file_handle.h"
#include "fork_target.h"
#include "loop_device.h"
#include "mount_table.h"

namespace lamina {
namespace {

struct SnapshotOptions {
  std::vector<std::string> what;
  std::string suffix;
  bool read_only = false, freeze = false;
};

// File systems that are kept from changing until this goes. Nobody else would thaw them, so what
// is to end this program meanwhile waits for it.
class Frozen {
 public:
  Frozen() {
    sigset_t ending;
    sigemptyset(&ending);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&ending, signal);
    sigprocmask(SIG_BLOCK, &ending, &before_);
  }
  Frozen(const Frozen&) = delete;
  Frozen& operator=(const Frozen&) = delete;
  ~Frozen() {
    for (const FileHandle& folder : folders_) ioctl(folder.get(), FITHAW, 0);
    sigprocmask(SIG_SETMASK, &before_, nullptr);
  }

  // What is mounted from the loops over the device.
  Result<> freeze(const LaminaPath& device) {
    auto status = stat_device(device);
    if (!status) return forward_error(status);
    for (const LoopDevice& loop : loops_over(status->st_dev, status->st_ino)) {
      struct stat of_loop {};
      if (stat(loop.path().c_str(), &of_loop) != 0)
        return system_error("cannot look up", loop.path(), errno);
      for (const MountEntry& entry : read_mount_table()) {
        if (entry.device != of_loop.st_rdev && entry.source != loop.path()) continue;
        FileHandle folder(open(entry.point.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!folder) return system_error("cannot open", entry.point, errno);
        // Mounted in several places, it is one file system.
        if (ioctl(folder.get(), FIFREEZE, 0) != 0) {
          if (errno == EBUSY) continue;
          return system_error("cannot freeze", entry.point, errno);
        }
        folders_.push_back(std::move(folder));
      }
    }
    return {};
  }
  bool any() const { return !folders_.empty(); }

 private:
  std::vector<FileHandle> folders_;
  sigset_t before_{};
};

Result<ExitCode> snapshot_one(const SnapshotOptions& options) {
  auto device = find_device(options.what[0], true);
  if (!device) return forward_error(device);
  auto name = name_beside(*device, options.what[1], "snapshot");
  if (!name) return forward_error(name);
  Frozen frozen;
  if (options.freeze) {
    LAMINA_TRY(frozen.freeze(*device));
    if (!frozen.any())
      return fail(Code::not_found, "nothing is mounted from a loop over " + device->path() +
                                       ", so there is nothing to freeze; leave --freeze out");
  }
  LAMINA_TRY(fork_device(*device, options.read_only ? "snapshot_read_only" : "snapshot", *name));
  return ExitCode::done;
}

Result<> freeze_all(const LaminaPath& mount, Frozen& frozen) {
  for (const LoopDevice& loop : loops_in(mount.device)) {
    const size_t slash = loop.file.rfind('/');
    LaminaPath device = mount;
    device.name = loop.file.substr(slash + 1);
    LAMINA_TRY(frozen.freeze(device));
  }
  return {};
}

std::unexpected<Error> of_several(const Error& error, const SnapshotOptions& options) {
  if (error.code == Code::exists)
    return fail(Code::exists, "a device with the suffix \"" + options.suffix +
                                  "\" exists already: none was made; take another suffix");
  if (error.code == Code::too_big)
    return fail(Code::too_big,
                "these are more devices than fit one step of the log, a thousand or more: none was "
                "made; name fewer of them at a time");
  return std::unexpected(error);
}

Result<ExitCode> snapshot_several(const SnapshotOptions& options) {
  const std::string kind = options.read_only ? "_read_only" : "";
  Frozen frozen;
  if (options.what.size() == 1) {
    if (const auto mount = find_mount(options.what[0])) {
      if (options.freeze) LAMINA_TRY(freeze_all(*mount, frozen));
      const auto done = set_control(*mount, "snapshot_all" + kind, options.suffix);
      if (!done) return of_several(done.error(), options);
      return ExitCode::done;
    }
  }
  std::string value = options.suffix;
  LaminaPath mount;
  for (const std::string& typed : options.what) {
    auto device = find_device(typed, true);
    if (!device) return forward_error(device);
    if (!mount.mount.empty() && device->mount != mount.mount)
      return fail(Code::invalid, device->path() + " and " + mount.mount +
                                     " are different pools, which have no common moment");
    mount = LaminaPath{device->mount, "", device->device};
    if (options.freeze) LAMINA_TRY(frozen.freeze(*device));
    value += '\n' + device->name;
  }
  const auto done = set_control(mount, "snapshot_some" + kind, value);
  if (!done) return of_several(done.error(), options);
  return ExitCode::done;
}

Result<ExitCode> snapshot(const SnapshotOptions& options) {
  if (!options.suffix.empty()) return snapshot_several(options);
  if (options.what.size() == 2) return snapshot_one(options);
  std::fprintf(stderr,
               "lamina snapshot: expected MOUNT/NAME and a name, or devices and --suffix\n");
  return ExitCode::usage;
}

}  // namespace

void add_snapshot(CommandLine& line) {
  const auto options = std::make_shared<SnapshotOptions>();
  line.command("snapshot",
               "Make snapshots: of a device under a new name, or with --suffix of several devices, "
               "or of all in a mount, at one moment")
      .words("WHAT", options->what, "MOUNT/NAME and SNAPSHOT; or MOUNT/NAME..., or MOUNT", true)
      .option("--suffix", options->suffix, "SUFFIX", "Each snapshot is called NAMESUFFIX")
      .flag("--read-only", options->read_only, "Nobody can write to them")
      .flag("--freeze", options->freeze, "Freeze what is mounted from their loops meanwhile")
      .example("lamina snapshot /mnt/pool/vm1 vm1@monday --read-only")
      .action([options] { return snapshot(*options); });
}

}  // namespace lamina
