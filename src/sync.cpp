// SPDX-License-Identifier: Apache-2.0
// lamina sync: returns when everything written to the pool is on the medium.
#include "commands.h"
#include "lamina_path.h"

namespace lamina {

void add_sync(CommandLine& line) {
  const auto mount = std::make_shared<std::string>();
  line.command("sync", "Make everything in a mounted pool durable, and take a checkpoint")
      .word("MOUNT", *mount, "Where the pool is mounted")
      .example("lamina sync /mnt/pool")
      .action([mount]() -> Result<ExitCode> {
        const auto found = find_mount(*mount);
        if (!found) return std::unexpected(found.error());
        LAMINA_TRY(set_control(*found, "sync", "1"));
        return ExitCode::done;
      });
}

}  // namespace lamina
