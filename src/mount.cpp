// SPDX-License-Identifier: Apache-2.0
// lamina mount: serves a pool as a mount.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "commands.h"
#include "config/pool_config.h"
#include "daemon.h"
#include "daemon_log.h"
#include "lamina_path.h"
#include "mount_options.h"
#include "mount_table.h"
#include "serve_pool.h"

namespace lamina {
namespace {

struct OptionsOfMount {
  std::string pool, mount_point;
  std::vector<std::string> lists;
  bool foreground = false;
};

Result<std::string> checked_mount_point(const std::string& typed) {
  const auto cannot = [&](const std::string& why) {
    return fail(Code::invalid, "cannot mount at " + typed + ": " + why);
  };
  std::array<char, PATH_MAX> resolved{};
  if (lies_in_dead_mount(typed))
    return cannot("a mount whose daemon died is there; `lamina umount` it first");
  if (realpath(typed.c_str(), resolved.data()) == nullptr) {
    if (errno == ENOENT) return cannot("there is no such directory; `mkdir` makes it");
    return cannot(std::strerror(errno));
  }
  struct stat status {};
  if (stat(resolved.data(), &status) != 0) return cannot(std::strerror(errno));
  if (!S_ISDIR(status.st_mode)) return cannot("it is not a directory");
  for (const MountEntry& entry : read_mount_table())
    if (entry.point == resolved.data() && entry.type == lamina_mount_type)
      return cannot("the pool " + entry.source + " is mounted there");
  return std::string(resolved.data());
}

std::string name_for_log(const PoolConfig& config) {
  return config.name.empty() ? config.file : config.name;
}

Result<ExitCode> serve(const PoolConfig& config, const MountOptions& options,
                       const std::string& mount_point, DaemonLog& log, bool foreground,
                       OpenDisk open_disk) {
  if (foreground) {
    const auto on_ready = [] {};
    LAMINA_TRY(serve_pool(config, options, mount_point, log, on_ready, open_disk));
    return ExitCode::done;
  }
  Daemon::Parent parent;
  auto daemon = Daemon::start(parent);
  if (!daemon) return forward_error(daemon);
  if (!*daemon) {
    if (!parent.ready) return fail(Code::io, parent.message);
    return ExitCode::done;
  }
  const auto on_ready = [&] { (*daemon)->ready(); };
  const Result<> served = serve_pool(config, options, mount_point, log, on_ready, open_disk);
  if (served) return ExitCode::done;
  log.leave_terminal();  // the parent says it there
  log.write(Settings::Severity::error, served.error().message);
  (*daemon)->failed(served.error().message);
  std::exit(static_cast<int>(ExitCode::failed));
}

Result<ExitCode> mount_pool(const OptionsOfMount& typed, OpenDisk open_disk) {
  if (!typed.foreground) Daemon::close_inherited();
  const auto options = parse_mount_options(typed.lists, geteuid() == 0);
  if (!options) {
    std::fprintf(stderr, "lamina mount: %s\n", options.error().message.c_str());
    return ExitCode::usage;
  }
  auto config = load_pool_config(typed.pool);
  if (!config) return forward_error(config);
  auto mount_point = checked_mount_point(typed.mount_point);
  if (!mount_point) return forward_error(mount_point);
  auto log = DaemonLog::open(config->log, name_for_log(*config), typed.foreground);
  if (!log) return forward_error(log);
  return serve(*config, *options, *mount_point, **log, typed.foreground, open_disk);
}

}  // namespace

void add_mount(CommandLine& line, OpenDisk open_disk) {
  const auto options = std::make_shared<OptionsOfMount>();
  line.command("mount", "Serve a pool; returns when the mount answers")
      .word("POOL", options->pool, "A pool file (YAML), or the file or partition that is the pool")
      .word("MOUNTPOINT", options->mount_point, "An existing directory")
      .flag("--foreground", options->foreground, "Stay, and log to the terminal")
      .options("-o", options->lists, "OPTION,...",
               "ro, allow_other, noallow_other, force, reactors=N, throttle=SIZE, without=FEATURE:FEATURE, and "
               "the kernel's: noatime, context=...")
      .example(
          "lamina mount /srv/pool.img /mnt/pool\n  lamina mount /etc/lamina/vmstore.yaml "
          "/srv/vms -o ro")
      .action([options, open_disk] { return mount_pool(*options, open_disk); });
}

}  // namespace lamina
