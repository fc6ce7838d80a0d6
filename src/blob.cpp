// SPDX-License-Identifier: Apache-2.0
// lamina blob: the blobs of a pool.
#include <algorithm>
#include <cstdio>

#include "blob_members.h"
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

using GrownBlobs = std::vector<GrownBlob>;

std::vector<GrownBlob> blobs_of(const nlohmann::ordered_json& status) {
  std::vector<GrownBlob> blobs;
  for (const auto& blob : status.value("blobs", nlohmann::ordered_json::array())) {
    GrownBlob now;
    now.name = blob.value("name", "");
    now.path = blob.value("path", "");
    now.size = blob.value("disk_size", uint64_t{0});
    now.segments = blob.value("segments_total", 0U);
    blobs.push_back(std::move(now));
  }
  return blobs;
}

// By the daemon that has the disks, while it serves.
Result<GrownBlobs> grow_mounted(const std::string& mount, const std::string& name) {
  const auto where = find_mount(mount);
  if (!where) return std::unexpected(where.error());
  auto before = read_status(where->mount);
  if (!before) return forward_error(before);
  GrownBlobs old = blobs_of(*before);
  const auto named = [&](const GrownBlob& blob) { return blob.name == name; };
  if (!name.empty() && std::ranges::none_of(old, named))
    return fail(Code::not_found, "the pool at " + where->mount + " has no blob \"" + name + "\"");
  LAMINA_TRY(set_control(*where, "grow", name.empty() ? "*" : name));
  auto after = read_status(where->mount);
  if (!after) return forward_error(after);
  GrownBlobs grown;
  for (GrownBlob& now : blobs_of(*after))
    for (const GrownBlob& then : old) {
      if (now.name != then.name || now.segments == then.segments) continue;
      now.old_size = then.size;
      now.old_segments = then.segments;
      grown.push_back(now);
    }
  return grown;
}

Result<GrownBlobs> grow_any(const GrowOptions& options) {
  if (find_mount(options.pool)) return grow_mounted(options.pool, options.blob);
  const auto config = load_pool_config(options.pool);
  if (!config) return std::unexpected(config.error());
  auto grown = run_task<std::vector<GrownBlob>>([&] { return grow_pool(*config, options.blob); });
  if (grown || grown.error().code != Code::busy) return grown;
  const auto serving = find_serving(*config);
  if (!serving) return grown;
  return grow_mounted(serving->mount, options.blob);
}

Result<ExitCode> grow(const GrowOptions& options) {
  const auto grown = grow_any(options);
  if (!grown) return std::unexpected(grown.error());
  if (grown->empty())
    return fail(Code::invalid,
                "nothing has grown: enlarge the file (`truncate -s +10G FILE`) or the partition "
                "first");
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
  blob.command("grow", "Use what a file or partition has become larger by, mounted or not")
      .word("POOL", growing->pool,
            "Where it is mounted, a pool file (YAML), or the file or partition that is the pool")
      .option("--blob", growing->blob, "NAME", "Only this one")
      .json(growing->json)
      .example("truncate -s +10G /srv/pool.img && lamina blob grow /mnt/pool")
      .action([growing] { return grow(*growing); });
  add_blob_members(blob);
}

}  // namespace lamina
