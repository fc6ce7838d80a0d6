// SPDX-License-Identifier: Apache-2.0
// lamina clone: another device with the same data, shared until one of them is written.
#include "commands.h"
#include "fork_target.h"

namespace lamina {
namespace {

struct CloneOptions {
  std::string device, name;
};

Result<ExitCode> clone_device(const CloneOptions& options) {
  auto device = find_device(options.device, true);
  if (!device) return forward_error(device);
  auto name = name_beside(*device, options.name, "clone");
  if (!name) return forward_error(name);
  LAMINA_TRY(fork_device(*device, "clone", *name));
  return ExitCode::done;
}

}  // namespace

void add_clone(CommandLine& line) {
  const auto options = std::make_shared<CloneOptions>();
  line.command("clone", "Make a device that has the same data, at once, sharing all of it")
      .word("DEVICE", options->device, "MOUNT/NAME")
      .word("NEW", options->name, "Name of the new device")
      .example("lamina clone /mnt/pool/debian12 vm7")
      .action([options] { return clone_device(*options); });
}

}  // namespace lamina
