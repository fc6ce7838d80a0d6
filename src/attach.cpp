// SPDX-License-Identifier: Apache-2.0
// lamina attach: a loop device with direct I/O over a device of the pool.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "lamina_path.h"
#include "loop_device.h"

namespace lamina {
namespace {

struct OptionsOfAttach {
  std::string device;
  uint64_t sector_bytes = 512;
  bool partitions = false, read_only = false, json = false;
};

Result<ExitCode> attach(const OptionsOfAttach& options) {
  const bool sector_is_possible = options.sector_bytes == 512 || options.sector_bytes == 1024 ||
                                  options.sector_bytes == 2048 || options.sector_bytes == 4096;
  if (!sector_is_possible) {
    std::fprintf(stderr, "lamina attach: --sector-size: expected 512, 1024, 2048 or 4096\n");
    return ExitCode::usage;
  }
  auto device = find_device(options.device, true);
  if (!device) return forward_error(device);
  const auto sector_bytes = static_cast<uint32_t>(options.sector_bytes);
  auto attached =
      attach_loop(device->path(), {sector_bytes, options.partitions, options.read_only});
  if (!attached) return forward_error(attached);
  const LoopDevice& loop = attached->loop;
  if (attached->was_there &&
      (loop.sector_bytes != sector_bytes || loop.read_only != options.read_only))
    std::fprintf(stderr,
                 "lamina attach: %s was attached before, %s with sectors of %u bytes; detach it to "
                 "attach it otherwise\n",
                 device->path().c_str(), loop.read_only ? "read-only" : "writable",
                 loop.sector_bytes);
  if (!loop.direct_io)
    std::fprintf(stderr, "lamina attach: %s has no direct I/O: it will be slow and cached twice\n",
                 loop.path().c_str());
  if (options.json) {
    const nlohmann::ordered_json facts{{"loop", loop.path()},
                                       {"device", device->path()},
                                       {"sector_size", loop.sector_bytes},
                                       {"read_only", loop.read_only},
                                       {"direct_io", loop.direct_io},
                                       {"was_attached", attached->was_there}};
    std::printf("%s\n", facts.dump(2).c_str());
  } else {
    std::printf("%s\n", loop.path().c_str());
  }
  return ExitCode::done;
}

}  // namespace

void add_attach(CommandLine& line) {
  const auto options = std::make_shared<OptionsOfAttach>();
  line.command("attach",
               "Make a block device (a loop with direct I/O) of a device; prints its name")
      .word("DEVICE", options->device, "MOUNT/NAME")
      .size_option("--sector-size", options->sector_bytes, "Its logical sectors, in bytes (512)")
      .flag("--partitions", options->partitions, "Look for partitions: /dev/loop0p1, ...")
      .flag("--read-only", options->read_only, "Refuse writes")
      .json(options->json)
      .example("mkfs.ext4 $(lamina attach /mnt/pool/vm1)")
      .action([options] { return attach(*options); });
}

}  // namespace lamina
