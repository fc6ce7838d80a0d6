// SPDX-License-Identifier: Apache-2.0
// lamina blob: the blobs of a pool.
#include <cstdio>

#include "commands.h"
#include "config/pool_config.h"
#include "config/quantity.h"
#include "lamina_path.h"
#include "run_task.h"
#include "status_report.h"
#include "tools/grow_blob.h"

namespace lamina {
namespace {

struct BlobOptions {
  std::string mount, blob;
  bool json = false;
};

struct GrowOptions {
  std::string pool, blob;
  bool json = false;
};

Result<ExitCode> list_blobs(const BlobOptions& options) {
  auto status = read_status(options.mount);
  if (!status) return forward_error(status);
  const auto blobs = status->value("blobs", nlohmann::ordered_json::array());
  std::printf("%s", options.json ? (blobs.dump(2) + "\n").c_str() : blob_table(blobs).c_str());
  return ExitCode::done;
}

Result<ExitCode> grow(const GrowOptions& options) {
  if (find_mount(options.pool))
    return fail(Code::busy, options.pool +
                                " is a mounted pool; unmount it, then name the pool "
                                "itself: lamina blob grow POOL");
  const auto config = load_pool_config(options.pool);
  if (!config) return std::unexpected(config.error());
  const auto grown =
      run_task<std::vector<GrownBlob>>([&] { return grow_blobs(*config, options.blob); });
  if (!grown) return std::unexpected(explain_use(*config, grown.error()));
  if (!options.json) {
    for (const GrownBlob& blob : *grown)
      std::printf("%s: %s -> %s on %s, %u segments more\n", blob.name.c_str(),
                  format_size(blob.old_size).c_str(), format_size(blob.size).c_str(),
                  blob.path.c_str(), blob.segments - blob.old_segments);
    return ExitCode::done;
  }
  nlohmann::ordered_json facts = nlohmann::ordered_json::array();
  for (const GrownBlob& blob : *grown)
    facts.push_back({{"name", blob.name},
                     {"path", blob.path},
                     {"old_size", blob.old_size},
                     {"size", blob.size},
                     {"segments", blob.segments}});
  std::printf("%s\n", facts.dump(2).c_str());
  return ExitCode::done;
}

}  // namespace

void add_blob(CommandLine& line) {
  Command& blob = line.command("blob", "The blobs of a pool");
  blob.example("lamina blob ls /mnt/pool");
  const auto options = std::make_shared<BlobOptions>();
  blob.command("ls", "List them")
      .word("MOUNT", options->mount, "Where the pool is mounted")
      .json(options->json)
      .example("lamina blob ls /mnt/pool --json")
      .action([options] { return list_blobs(*options); });
  const auto growing = std::make_shared<GrowOptions>();
  blob.command("grow", "Use what a file or partition has become larger by; not while mounted")
      .word("POOL", growing->pool, "A pool file (YAML), or the file or partition that is the pool")
      .option("--blob", growing->blob, "NAME", "Only this one")
      .json(growing->json)
      .example("truncate -s +10G /srv/pool.img && lamina blob grow /srv/pool.img")
      .action([growing] { return grow(*growing); });
}

}  // namespace lamina
