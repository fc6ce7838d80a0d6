// SPDX-License-Identifier: Apache-2.0
// lamina snapshot: devices as they are at one moment; of one device, of several or of all.
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>
#include <csignal>
#include <set>

#include "commands.h"
#include "engine/pool.h"
#include "file_handle.h"
#include "fork_target.h"
#include "loop_device.h"

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
    for (const int signal :
         {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGPIPE, SIGALRM})
      sigaddset(&ending, signal);
    sigprocmask(SIG_BLOCK, &ending, &before_);
  }
  Frozen(const Frozen&) = delete;
  Frozen& operator=(const Frozen&) = delete;
  ~Frozen() {
    for (const FileHandle& folder : folders_) ioctl(folder.get(), FITHAW, 0);
    sigprocmask(SIG_SETMASK, &before_, nullptr);
  }

  // What is mounted from the loops.
  Result<> freeze(const std::vector<LoopDevice>& loops) {
    for (const LoopDevice& loop : loops)
      for (const LoopMount& mounted : mounts_of_loop(loop)) LAMINA_TRY(freeze_one(mounted));
    return {};
  }
  Result<> freeze(const LaminaPath& device) {
    auto status = stat_device(device);
    if (!status) return forward_error(status);
    return freeze(loops_over(status->st_dev, status->st_ino));
  }
  // Error not_found: nothing is frozen. What was asked for is not what would be made.
  Result<> expect_any(const std::string& devices) const {
    if (!folders_.empty()) return {};
    return fail(Code::not_found, "nothing is mounted from a loop over " + devices +
                                     ", so there is nothing to freeze; leave --freeze out");
  }

 private:
  Result<> freeze_one(const LoopMount& mounted) {
    const std::string& point = mounted.mount.point;
    // Mounted in several places, it is one file system.
    if (!file_systems_.insert(mounted.mount.device).second) return {};
    FileHandle folder(open(point.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder) return system_error("cannot open", point, errno);
    if (ioctl(folder.get(), FIFREEZE, 0) != 0) {
      if (errno == EBUSY) return frozen_by_others(mounted);
      return system_error("cannot freeze", point, errno);
    }
    folders_.push_back(std::move(folder));
    return {};
  }
  // They may thaw it at any moment.
  static std::unexpected<Error> frozen_by_others(const LoopMount& mounted) {
    const std::string& point = mounted.mount.point;
    return fail(Code::busy, point + ", mounted from " + mounted.from +
                                ", is frozen already, by somebody else; `fsfreeze -u " + point +
                                "` thaws it, or leave --freeze out if it stays frozen meanwhile");
  }

  std::vector<FileHandle> folders_;
  std::set<dev_t> file_systems_;
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
    LAMINA_TRY(frozen.expect_any(device->path()));
  }
  LAMINA_TRY(fork_device(*device, options.read_only ? "snapshot_read_only" : "snapshot", *name));
  return ExitCode::done;
}

// As in a message, on one line.
std::string quoted(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return '"' + text + '"';
}

// A suffix that ends no name at all.
Result<> check_suffix(const std::string& suffix) {
  if (suffix.find('/') != std::string::npos)
    return fail(Code::invalid, "the suffix " + quoted(suffix) +
                                   " has a slash, which no name may have: none was made");
  if (const auto checked = check_device_name("x" + suffix); !checked)
    return fail(checked.error().code, "the suffix " + quoted(suffix) + " cannot end a name, as " +
                                          checked.error().message + ": none was made");
  return {};
}

std::unexpected<Error> of_several(const Error& error, const SnapshotOptions& options) {
  const std::string suffix = quoted(options.suffix);
  if (error.code == Code::exists)
    return fail(Code::exists, "a device with the suffix " + suffix +
                                  " exists already: none was made; take another suffix");
  if (error.code == Code::name_too_long)
    return fail(Code::name_too_long, "with the suffix " + suffix +
                                         " a name has more than 255 bytes: none was made; take a "
                                         "shorter suffix");
  if (error.code == Code::too_big)
    return fail(Code::too_big,
                "these are more devices than fit one step of the log, a thousand or more: none was "
                "made; name fewer of them at a time");
  return std::unexpected(error);
}

Result<std::vector<LaminaPath>> find_devices(const std::vector<std::string>& typed) {
  std::vector<LaminaPath> devices;
  std::set<std::string> names;
  for (const std::string& each : typed) {
    auto device = find_device(each, true);
    if (!device) return forward_error(device);
    if (!devices.empty() && device->mount != devices[0].mount)
      return fail(Code::invalid, device->path() + " and " + devices[0].mount +
                                     " are different pools, which have no common moment");
    if (!names.insert(device->name).second)
      return fail(Code::invalid, device->path() + " is named twice: none was made; name it once");
    devices.push_back(std::move(*device));
  }
  return devices;
}

// The suffix and a line for each device, as one attribute carries them.
Result<std::string> request_for(const std::vector<LaminaPath>& devices, const std::string& suffix) {
  std::string value = suffix;
  for (const LaminaPath& device : devices) value += '\n' + device.name;
  if (value.size() > XATTR_SIZE_MAX)
    return fail(Code::too_big, "the names of these " + std::to_string(devices.size()) +
                                   " devices are longer than the 64 KiB that one request carries: "
                                   "none was made; name the mount " +
                                   devices[0].mount + " instead, to take all devices in it");
  return value;
}

Result<ExitCode> snapshot_all(const LaminaPath& mount, const SnapshotOptions& options) {
  Frozen frozen;
  if (options.freeze) {
    LAMINA_TRY(frozen.freeze(loops_in(mount.device)));
    LAMINA_TRY(frozen.expect_any("a device in " + mount.mount));
  }
  const std::string kind = options.read_only ? "_read_only" : "";
  const auto done = set_control(mount, "snapshot_all" + kind, options.suffix);
  if (!done) return of_several(done.error(), options);
  return ExitCode::done;
}

Result<ExitCode> snapshot_some(const SnapshotOptions& options) {
  auto devices = find_devices(options.what);
  if (!devices) return forward_error(devices);
  auto value = request_for(*devices, options.suffix);
  if (!value) return forward_error(value);
  Frozen frozen;
  if (options.freeze) {
    for (const LaminaPath& device : *devices) LAMINA_TRY(frozen.freeze(device));
    LAMINA_TRY(
        frozen.expect_any(devices->size() == 1 ? devices->front().path() : "any of these devices"));
  }
  const LaminaPath mount{devices->front().mount, "", devices->front().device};
  const std::string kind = options.read_only ? "_read_only" : "";
  const auto done = set_control(mount, "snapshot_some" + kind, *value);
  if (!done) return of_several(done.error(), options);
  return ExitCode::done;
}

Result<ExitCode> snapshot_several(const SnapshotOptions& options) {
  LAMINA_TRY(check_suffix(options.suffix));
  if (options.what.size() == 1)
    if (const auto mount = find_mount(options.what[0])) return snapshot_all(*mount, options);
  return snapshot_some(options);
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
