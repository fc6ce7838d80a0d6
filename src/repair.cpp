// SPDX-License-Identifier: Apache-2.0
// lamina repair: makes a damaged pool whole.
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "config/pool_config.h"
#include "config/quantity.h"
#include "progress.h"
#include "run_task.h"
#include "status_report.h"
#include "tools/copy_pool.h"
#include "tools/repair_pool.h"

namespace lamina {
namespace {

struct OptionsOfRepair {
  std::string pool, to;
  bool rebuild = false, accept_suspect = false, data = false, json = false;
};

void print_json(const RepairedPool& repaired, const std::string& where) {
  nlohmann::ordered_json findings = nlohmann::ordered_json::array();
  for (const Finding& finding : repaired.after.findings)
    findings.push_back({{"rule", finding.rule}, {"where", finding.where}, {"what", finding.what}});
  nlohmann::ordered_json suspect = nlohmann::ordered_json::array();
  for (const LostRange& range : repaired.rebuild.suspect)
    suspect.push_back({{"device", range.name},
                       {"begin", range.range.begin.byte_offset()},
                       {"length", range.range.length().bytes()}});
  const nlohmann::ordered_json facts{{"pool", repaired.pool},
                                     {"path", where},
                                     {"superblocks_written", repaired.superblocks},
                                     {"healed_blocks", repaired.healed},
                                     {"rebuilt", repaired.rebuilt},
                                     {"devices", repaired.after.devices},
                                     {"extents", repaired.rebuild.extents},
                                     {"segments", repaired.rebuild.segments},
                                     {"missing_blobs", repaired.missing},
                                     {"untold_segments", repaired.rebuild.untold.size()},
                                     {"missing_entries", repaired.rebuild.missing_entries},
                                     {"end_in_doubt", repaired.rebuild.end_in_doubt},
                                     {"suspect", suspect},
                                     {"verdict", repaired.after.damaged() ? "damaged" : "clean"},
                                     {"findings", findings}};
  std::printf("%s\n",
              facts.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
}

// By device: what can be read of each is the newest, whatever is in doubt.
void print_suspect(const RepairedPool& repaired) {
  std::map<std::string, uint64_t> bytes;
  for (const LostRange& range : repaired.rebuild.suspect)
    bytes[range.name] += range.range.length().bytes();
  if (!repaired.rebuild.untold.empty() || repaired.rebuild.missing_entries > 0)
    std::printf(
        "what %zu segments and %llu entries of the log held nobody can tell any more: "
        "something newer than what was found may have been there\n",
        repaired.rebuild.untold.size(),
        static_cast<unsigned long long>(repaired.rebuild.missing_entries));
  if (repaired.rebuild.end_in_doubt)
    std::printf(
        "the log may have gone on where segments are destroyed, so anything may be older\n");
  for (const auto& [name, count] : bytes)
    std::printf(
        "suspect: device \"%s\", %s, cannot be read until it is written, or accepted: "
        "`lamina set MOUNT/%s suspect=accept`\n",
        name.c_str(), format_size(count).c_str(), name.c_str());
}

void print_for_people(const RepairedPool& repaired, const std::string& where, bool data) {
  for (const std::string& disk : repaired.superblocks)
    std::printf("%s: its superblocks have been written again\n", disk.c_str());
  for (const std::string& blob : repaired.missing)
    std::printf(
        "blob \"%s\": nothing of the pool is left on its disk; the pool goes on without it\n",
        blob.c_str());
  if (repaired.healed > 0)
    std::printf("healed: %llu blocks of metadata\n",
                static_cast<unsigned long long>(repaired.healed));
  if (repaired.rebuilt)
    std::printf("rebuilt from %llu segments: %llu devices with %llu extents\n",
                static_cast<unsigned long long>(repaired.rebuild.segments),
                static_cast<unsigned long long>(repaired.rebuild.devices),
                static_cast<unsigned long long>(repaired.rebuild.extents));
  if (!repaired.rebuild.suspect.empty()) print_suspect(repaired);
  if (!repaired.rebuilt && repaired.superblocks.empty() && !repaired.before.damaged())
    std::printf("nothing is damaged, and nothing was changed; --rebuild rebuilds all the same\n");
  for (const Finding& finding : repaired.after.findings)
    std::printf("left: %s  %s: %s\n", finding.rule.c_str(), finding.where.c_str(),
                finding.what.c_str());
  std::printf("pool \"%s\" at %s: %s, %llu devices\n", repaired.pool.c_str(), where.c_str(),
              repaired.after.damaged() ? "DAMAGE IS LEFT" : "clean",
              static_cast<unsigned long long>(repaired.after.devices));
  if (repaired.after.damaged() && !data)
    std::printf("`lamina check --data %s` says what data cannot be read\n", where.c_str());
}

Result<ExitCode> repair_it(const OptionsOfRepair& options) {
  auto config = load_pool_config(options.pool);
  if (!config) return std::unexpected(config.error());
  Progress progress;
  RepairOptions wanted;
  wanted.rebuild = options.rebuild;
  wanted.accept_suspect = options.accept_suspect;
  wanted.data = options.data;
  wanted.progress = [&](const std::string& doing, uint64_t done, uint64_t all) {
    progress.tell(doing, done, all);
  };
  if (!options.to.empty()) {
    auto copy = copy_pool(*config, options.to, wanted.progress);
    if (!copy) return std::unexpected(copy.error());
    config = std::move(copy);
  }
  const auto repaired = run_task<RepairedPool>([&] { return repair_pool(*config, wanted); });
  if (!repaired) return std::unexpected(explain_use(*config, repaired.error()));
  if (options.json)
    print_json(*repaired, config->file);
  else
    print_for_people(*repaired, config->file, options.data);
  return repaired->after.damaged() ? ExitCode::no : ExitCode::done;
}

}  // namespace

void add_repair(CommandLine& line) {
  const auto options = std::make_shared<OptionsOfRepair>();
  line.command("repair", "Make a damaged pool that is not mounted whole again")
      .word("POOL", options->pool, "A pool file (YAML), or the file or partition that is the pool")
      .option("--to", options->to, "NEW",
              "Repair a copy: a file or partition, or, of a pool with a pool file, a new folder")
      .flag("--rebuild", options->rebuild, "Rebuild all maps, even if none is found damaged")
      .flag("--accept-suspect", options->accept_suspect,
            "Believe what is found also where something newer may have been destroyed; else it "
            "cannot be read until it is accepted (`lamina set MOUNT/NAME suspect=accept`)")
      .flag("--data", options->data, "Verify all data afterwards")
      .json(options->json)
      .example("lamina repair /srv/pool.img --to /srv/repaired.img")
      .action([options] { return repair_it(*options); });
}

}  // namespace lamina
