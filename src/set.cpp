// SPDX-License-Identifier: Apache-2.0
// lamina set: the control attributes of a device or a mount.
#include <cstdio>

#include "commands.h"
#include "control_target.h"

namespace lamina {
namespace {

struct SetOptions {
  std::string path;
  std::vector<std::string> assignments;
};

Result<ExitCode> set(const SetOptions& options) {
  for (const std::string& assignment : options.assignments) {
    const size_t equals = assignment.find('=');
    if (equals == 0 || equals == std::string::npos) {
      std::fprintf(stderr, "lamina set: expected KEY=VALUE, not \"%s\"\n", assignment.c_str());
      return ExitCode::usage;
    }
  }
  const auto target = find_control_target(options.path);
  if (!target) return std::unexpected(target.error());
  for (const std::string& assignment : options.assignments) {
    const size_t equals = assignment.find('=');
    const std::string key = without_control_prefix(assignment.substr(0, equals));
    LAMINA_TRY(set_control(*target, key, assignment.substr(equals + 1)));
  }
  return ExitCode::done;
}

}  // namespace

void add_set(CommandLine& line) {
  const auto options = std::make_shared<SetOptions>();
  line.command("set", "Set control attributes (user.lamina.*) of a device or a mount")
      .word("PATH", options->path, "MOUNT or MOUNT/NAME")
      .words("KEY=VALUE", options->assignments, "What to set, in order", true)
      .example("lamina set /mnt/pool/vm1 read_only=1")
      .action([options] { return set(*options); });
}

}  // namespace lamina
