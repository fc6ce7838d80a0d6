// SPDX-License-Identifier: Apache-2.0
// lamina set: the control attributes of a device or a mount.
#include <cstdio>

#include "commands.h"
#include "control_target.h"
#include "status_report.h"

namespace lamina {
namespace {

struct SetOptions {
  std::string path;
  std::vector<std::string> assignments;
};

// A device was to be pinned to it.
std::unexpected<Error> no_such_blob(const LaminaPath& device, const std::string& value) {
  std::string names;
  if (const auto status = read_status(device.mount))
    for (const auto& blob : status->value("blobs", nlohmann::ordered_json::array()))
      names += (names.empty() ? "" : ", ") + blob.value("name", "");
  return fail(Code::invalid, "cannot pin " + device.path() + " to \"" + value +
                                 "\": the pool has no blob of that name; it has " + names +
                                 ", and auto lets data age as it will");
}

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
    const std::string value = assignment.substr(equals + 1);
    const auto done = set_control(*target, key, value);
    if (!done && done.error().code == Code::invalid && key == "tier" && !target->name.empty())
      return no_such_blob(*target, value);
    if (!done) return std::unexpected(done.error());
  }
  return ExitCode::done;
}

}  // namespace

void add_set(CommandLine& line) {
  const auto options = std::make_shared<SetOptions>();
  line.command("set", "Set control attributes (user.lamina.*) of a device or a mount")
      .word("PATH", options->path, "MOUNT or MOUNT/NAME")
      .words("KEY=VALUE", options->assignments, "What to set, in order", true)
      .example("lamina set /mnt/pool/vm1 read_only=1\n  lamina set /mnt/pool/vm1 tier=fast")
      .action([options] { return set(*options); });
}

}  // namespace lamina
