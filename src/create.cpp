// SPDX-License-Identifier: Apache-2.0
// lamina create: a thin device.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "commands.h"
#include "file_handle.h"
#include "lamina_path.h"
#include "origin.h"

namespace lamina {
namespace {

struct CreateOptions {
  std::string device, origin;
  std::optional<uint64_t> size;
};

Result<ExitCode> create_device(const CreateOptions& options) {
  if (!options.size && options.origin.empty())
    return fail(Code::invalid, "a device has a SIZE, or that of the image named by --origin");
  auto device = find_device(options.device, false);
  if (!device) return forward_error(device);
  const std::string path = device->path();
  const FileHandle file(open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
  if (!file) {
    if (errno == EEXIST)
      return fail(Code::exists, path + " exists; `lamina resize` changes its size");
    return system_error("cannot create", path, errno);
  }
  if (ftruncate(file.get(), static_cast<off_t>(options.size.value_or(0))) != 0) {
    const int error_number = errno;
    unlink(path.c_str());  // all or nothing
    return system_error("cannot give its size to", path, error_number);
  }
  if (!options.origin.empty()) {
    auto set = set_origin_file(*device, options.origin);
    if (!set) {
      unlink(path.c_str());
      return forward_error(set);
    }
  }
  if (fsync(file.get()) != 0) return system_error("cannot make durable", path, errno);
  return ExitCode::done;
}

}  // namespace

void add_create(CommandLine& line) {
  const auto options = std::make_shared<CreateOptions>();
  line.command("create", "Make a thin device, which takes no space until it is written")
      .word("DEVICE", options->device, "MOUNT/NAME of the new device")
      .optional_size("SIZE", options->size, "Its size: 10G, 512M or bytes")
      .option("--origin", options->origin, "FILE",
              "A raw image that it is read through to, never changed; as large as that at least")
      .example(
          "lamina create /mnt/pool/vm1 100G\n"
          "  lamina create /mnt/pool/vm2 --origin /srv/images/debian12.raw")
      .action([options] { return create_device(*options); });
}

}  // namespace lamina
