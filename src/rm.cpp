// SPDX-License-Identifier: Apache-2.0
// lamina rm: takes devices away.
#include <unistd.h>

#include <cerrno>

#include "commands.h"
#include "lamina_path.h"
#include "loop_device.h"

namespace lamina {
namespace {

struct RmOptions {
  std::vector<std::string> devices;
  bool force = false;
};

Result<> check_detached(const LaminaPath& device) {
  auto status = stat_device(device);
  if (!status) return forward_error(status);
  const auto loops = loops_over(status->st_dev, status->st_ino);
  if (loops.empty()) return {};
  return fail(Code::busy,
              device.path() + " is attached as " + loops[0].path() +
                  ": `lamina detach` it first; with --force it goes when the loop does");
}

Result<ExitCode> remove_devices(const RmOptions& options) {
  // All are looked at before the first goes.
  std::vector<LaminaPath> devices;
  for (const std::string& typed : options.devices) {
    auto device = find_device(typed, true);
    if (!device) return forward_error(device);
    if (!options.force) LAMINA_TRY(check_detached(*device));
    devices.push_back(std::move(*device));
  }
  for (const LaminaPath& device : devices)
    if (unlink(device.path().c_str()) != 0)
      return system_error("cannot remove", device.path(), errno);
  return ExitCode::done;
}

}  // namespace

void add_rm(CommandLine& line) {
  const auto options = std::make_shared<RmOptions>();
  line.command("rm", "Remove devices; their space comes back by itself")
      .words("DEVICE", options->devices, "MOUNT/NAME of each", true)
      .flag("--force", options->force, "Also what is attached: it lives until it is detached")
      .example("lamina rm /mnt/pool/vm1-old")
      .action([options] { return remove_devices(*options); });
}

}  // namespace lamina
