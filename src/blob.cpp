// SPDX-License-Identifier: Apache-2.0
// lamina blob: the blobs of a mounted pool.
#include <cstdio>

#include "commands.h"
#include "lamina_path.h"
#include "status_report.h"

namespace lamina {
namespace {

struct BlobOptions {
  std::string mount, blob;
  bool json = false;
};

Result<ExitCode> list_blobs(const BlobOptions& options) {
  auto status = read_status(options.mount);
  if (!status) return forward_error(status);
  const auto blobs = status->value("blobs", nlohmann::ordered_json::array());
  std::printf("%s", options.json ? (blobs.dump(2) + "\n").c_str() : blob_table(blobs).c_str());
  return ExitCode::done;
}

}  // namespace

void add_blob(CommandLine& line) {
  Command& blob = line.command("blob", "The blobs of a mounted pool");
  blob.example("lamina blob ls /mnt/pool");
  const auto options = std::make_shared<BlobOptions>();
  blob.command("ls", "List them")
      .word("MOUNT", options->mount, "Where the pool is mounted")
      .json(options->json)
      .example("lamina blob ls /mnt/pool --json")
      .action([options] { return list_blobs(*options); });
}

}  // namespace lamina
