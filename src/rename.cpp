// SPDX-License-Identifier: Apache-2.0
// lamina rename: another name for a device.
#include <fcntl.h>

#include <cerrno>
#include <cstdio>

#include "commands.h"
#include "lamina_path.h"

namespace lamina {
namespace {

struct RenameOptions {
  std::string device, name;
  bool force = false;
};

Result<ExitCode> rename_device(const RenameOptions& options) {
  auto from = find_device(options.device, true);
  if (!from) return forward_error(from);
  // A bare word is a name beside the old one.
  const bool is_path = options.name.find('/') != std::string::npos;
  auto to = find_device(is_path ? options.name : from->mount + "/" + options.name, false);
  if (!to) return forward_error(to);
  if (to->mount != from->mount)
    return fail(Code::invalid, "cannot rename " + from->path() + " to " + to->path() +
                                   ": they are different pools; copy it with "
                                   "`cp --sparse=always`");
  const unsigned flags = options.force ? 0 : RENAME_NOREPLACE;
  if (renameat2(AT_FDCWD, from->path().c_str(), AT_FDCWD, to->path().c_str(), flags) == 0)
    return ExitCode::done;
  if (errno == EEXIST)
    return fail(Code::exists, "cannot rename " + from->path() + ": " + to->path() +
                                  " exists; --force replaces it");
  return system_error("cannot rename " + from->path() + " to", to->path(), errno);
}

}  // namespace

void add_rename(CommandLine& line) {
  const auto options = std::make_shared<RenameOptions>();
  line.command("rename", "Give a device another name")
      .word("DEVICE", options->device, "MOUNT/NAME")
      .word("NEW", options->name, "Its new name")
      .flag("--force", options->force, "Replace the device that has the new name")
      .example("lamina rename /mnt/pool/vm1 vm1-old")
      .action([options] { return rename_device(*options); });
}

}  // namespace lamina
