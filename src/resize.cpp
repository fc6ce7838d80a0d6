// SPDX-License-Identifier: Apache-2.0
// lamina resize: another size for a device, told to the loops that are attached to it.
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "commands.h"
#include "config/quantity.h"
#include "engine/pool.h"
#include "lamina_path.h"
#include "loop_device.h"
#include "open_files.h"

namespace lamina {
namespace {

struct ResizeOptions {
  std::string device;
  SizeChange change;
  bool force = false;
};

Result<uint64_t> wanted_size(const SizeChange& change, uint64_t size) {
  switch (change.kind) {
    case SizeChange::Kind::absolute:
      size = change.bytes;
      break;
    case SizeChange::Kind::grow:
      if (__builtin_add_overflow(size, change.bytes, &size)) size = max_device_bytes + 1;
      break;
    case SizeChange::Kind::shrink:
      if (change.bytes > size)
        return fail(Code::invalid, "it has only " + format_size(size) + ", less than the " +
                                       format_size(change.bytes) + " to be taken away");
      size -= change.bytes;
      break;
  }
  if (size > max_device_bytes) return fail(Code::too_big, "a device has at most 1P");
  return size;
}

// Ok where nothing has the device open.
Result<> check_unused(const std::string& path, const struct stat& status,
                      const std::vector<LoopDevice>& loops) {
  std::string users;
  for (const LoopDevice& loop : loops) users += "\n  " + loop.path() + " is attached to it";
  for (const FileUser& user : users_of_files(status.st_dev, status.st_ino))
    users += "\n  process " + std::to_string(user.process) + " (" + user.command + ") has it open";
  if (users.empty()) return {};
  return fail(Code::busy, "shrinking " + path + " would cut off what its users believe is there:" +
                              users + "\nend that first, or add --force");
}

Result<ExitCode> resize_device(const ResizeOptions& options) {
  auto device = find_device(options.device, true);
  if (!device) return forward_error(device);
  auto status = stat_device(*device);
  if (!status) return forward_error(status);
  const auto old_size = static_cast<uint64_t>(status->st_size);
  const auto size = wanted_size(options.change, old_size);
  const std::string path = device->path();
  if (!size) return fail(size.error().code, "cannot resize " + path + ": " + size.error().message);
  const auto loops = loops_over(status->st_dev, status->st_ino);
  if (*size < old_size && !options.force) LAMINA_TRY(check_unused(path, *status, loops));
  if (truncate(path.c_str(), static_cast<off_t>(*size)) != 0)
    return system_error("cannot resize", path, errno);
  for (const LoopDevice& loop : loops) {
    LAMINA_TRY(refresh_loop_size(loop));
    std::printf("told %s; grow the file system in it next (resize2fs, xfs_growfs, ...)\n",
                loop.path().c_str());
  }
  return ExitCode::done;
}

}  // namespace

void add_resize(CommandLine& line) {
  const auto options = std::make_shared<ResizeOptions>();
  line.command("resize", "Change the size of a device, and tell the loops attached to it")
      .word("DEVICE", options->device, "MOUNT/NAME")
      .size_change("SIZE", options->change, "The new size, or +10G or -10G for a change")
      .flag("--force", options->force, "Shrink it although something has it open")
      .example("lamina resize /mnt/pool/vm1 +20G")
      .action([options] { return resize_device(*options); });
}

}  // namespace lamina
