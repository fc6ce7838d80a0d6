// SPDX-License-Identifier: Apache-2.0
// lamina create: a thin device.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "commands.h"
#include "file_handle.h"
#include "lamina_path.h"

namespace lamina {
namespace {

struct CreateOptions {
  std::string device;
  uint64_t size = 0;
};

Result<ExitCode> create_device(const CreateOptions& options) {
  auto device = find_device(options.device, false);
  if (!device) return forward_error(device);
  const std::string path = device->path();
  const FileHandle file(open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
  if (!file) {
    if (errno == EEXIST)
      return fail(Code::exists, path + " exists; `lamina resize` changes its size");
    return system_error("cannot create", path, errno);
  }
  if (ftruncate(file.get(), static_cast<off_t>(options.size)) != 0) {
    const int error_number = errno;
    unlink(path.c_str());  // all or nothing
    return system_error("cannot give its size to", path, error_number);
  }
  if (fsync(file.get()) != 0) return system_error("cannot make durable", path, errno);
  return ExitCode::done;
}

}  // namespace

void add_create(CommandLine& line) {
  const auto options = std::make_shared<CreateOptions>();
  line.command("create", "Make a thin device, which takes no space until it is written")
      .word("DEVICE", options->device, "MOUNT/NAME of the new device")
      .size("SIZE", options->size, "Its size: 10G, 512M or bytes")
      .example("lamina create /mnt/pool/vm1 100G")
      .action([options] { return create_device(*options); });
}

}  // namespace lamina
