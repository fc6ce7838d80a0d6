// SPDX-License-Identifier: Apache-2.0
// lamina format: makes a pool.
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "blobs/describe.h"
#include "blobs/file_disk.h"
#include "blobs/layout.h"
#include "commands.h"
#include "config/pool_config.h"
#include "config/quantity.h"
#include "run_task.h"
#include "status_report.h"
#include "tools/make_pool.h"

namespace lamina {
namespace {

struct FormatOptions {
  std::string pool, name;
  uint64_t size = 0;
  bool force = false, json = false;
};

uint64_t now_ns() {
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(since_1970).count());
}

Result<> check_new_size(const std::string& path, uint64_t size) {
  if (size >= min_blob_bytes) return {};
  return fail(Code::no_space, "cannot make a pool of " + format_size(size) + " in " + path +
                                  ": a pool needs at least 64M");
}

// The file may be there already, if it is as large as was asked for. True: it was made here.
Result<bool> make_file(const std::string& path, uint64_t size) {
  LAMINA_TRY(check_new_size(path, size));
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    LAMINA_TRY(create_disk_file(path, size));
    return true;
  }
  const auto there = std::filesystem::file_size(path, error);
  if (error)
    return fail(Code::invalid, "--size makes a file, and " + path + " is none; leave it out");
  if (there == size) return false;
  return fail(Code::exists, path + " exists and has " + std::to_string(there) + " bytes, not " +
                                std::to_string(size) +
                                "; leave --size out to use it as it is, or remove it first");
}

Result<PoolConfig> config_of(const FormatOptions& options, bool& made_file) {
  PoolConfig config;
  if (options.size != 0) {
    auto made = make_file(options.pool, options.size);
    if (!made) return forward_error(made);
    made_file = *made;
    config = single_path_config(options.pool);
  } else {
    auto loaded = load_pool_config(options.pool);
    if (!loaded && loaded.error().code == Code::not_found)
      return fail(Code::not_found,
                  loaded.error().message + "; --size 20G makes it, as a file of that size");
    if (!loaded) return loaded;
    config = std::move(*loaded);
  }
  if (!options.name.empty()) LAMINA_TRY(check_pool_name(options.name));
  if (config.from_yaml) return config;
  config.name = options.name.empty() ? pool_name_from(options.pool) : options.name;
  config.blobs[0].name = single_blob_name;
  return config;
}

void print(const MadePool& made, const FormatOptions& options) {
  if (options.json) {
    nlohmann::ordered_json blobs = nlohmann::ordered_json::array();
    for (const MadeBlob& blob : made.blobs)
      blobs.push_back({{"name", blob.name},
                       {"kind", blob.kind},
                       {"path", blob.path},
                       {"size", blob.size},
                       {"segment_bytes", blob.segment_bytes},
                       {"segments", blob.segment_count}});
    const nlohmann::ordered_json facts{
        {"pool", made.name}, {"uuid", to_text(made.uuid)}, {"blobs", blobs}};
    std::printf("%s\n", facts.dump(2).c_str());
    return;
  }
  std::printf("made pool \"%s\" (%s)\n", made.name.c_str(), to_text(made.uuid).c_str());
  for (const MadeBlob& blob : made.blobs)
    std::printf("  %s: %s, %s on %s, %u segments of %s\n", blob.name.c_str(),
                blob.kind.c_str(), format_size(blob.size).c_str(), blob.path.c_str(), blob.segment_count,
                format_size(blob.segment_bytes).c_str());
  std::printf("next: lamina mount %s MOUNTPOINT\n", options.pool.c_str());
}

Result<ExitCode> format(const FormatOptions& options) {
  bool made_file = false;
  const auto config = config_of(options, made_file);
  if (!config) return std::unexpected(config.error());
  Attributes root;
  root.mode = 0755;
  root.uid = geteuid();
  root.gid = getegid();
  root.atime_ns = root.mtime_ns = root.ctime_ns = now_ns();
  auto made = run_task<MadePool>([&] { return make_pool(*config, options.force, root); });
  if (!made) {
    if (made_file) unlink(options.pool.c_str());
    return std::unexpected(explain_use(*config, made.error()));
  }
  print(*made, options);
  return ExitCode::done;
}

}  // namespace

void add_format(CommandLine& line) {
  const auto options = std::make_shared<FormatOptions>();
  line.command("format", "Make a pool")
      .word("POOL", options->pool, "A pool file (YAML), or the file or partition to make it on")
      .size_option("--size", options->size, "Make POOL, a sparse file, of this size")
      .option("--name", options->name, "NAME", "What to call the pool (the name of the file)")
      .flag("--force", options->force, "Overwrite what is there")
      .json(options->json)
      .example("lamina format /srv/pool.img --size 20G\n  lamina format /etc/lamina/vmstore.yaml")
      .action([options] { return format(*options); });
}

}  // namespace lamina
