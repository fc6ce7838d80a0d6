// SPDX-License-Identifier: Apache-2.0
// lamina check: whether a pool is whole.
#include "tools/check.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "config/pool_config.h"
#include "config/quantity.h"
#include "progress.h"
#include "run_task.h"
#include "status_report.h"

namespace lamina {
namespace {

struct OptionsOfCheck {
  std::string pool;
  bool data = false, json = false;
};

void print_json(const CheckReport& report) {
  nlohmann::ordered_json findings = nlohmann::ordered_json::array();
  for (const Finding& finding : report.findings)
    findings.push_back({{"rule", finding.rule}, {"where", finding.where}, {"what", finding.what}});
  const nlohmann::ordered_json facts{{"verdict", report.damaged() ? "damaged" : "clean"},
                                     {"pool", report.pool},
                                     {"segments", report.segments},
                                     {"devices", report.devices},
                                     {"ranges", report.ranges},
                                     {"verified_bytes", report.verified_bytes},
                                     {"findings", findings}};
  std::printf("%s\n",
              facts.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
}

void print_for_people(const CheckReport& report, bool data) {
  for (const Finding& finding : report.findings)
    std::printf("%s  %s: %s\n", finding.rule.c_str(), finding.where.c_str(), finding.what.c_str());
  std::printf("pool \"%s\": %s; %llu segments in use, %llu devices with %llu ranges",
              report.pool.c_str(), report.damaged() ? "DAMAGED" : "clean",
              static_cast<unsigned long long>(report.segments),
              static_cast<unsigned long long>(report.devices),
              static_cast<unsigned long long>(report.ranges));
  if (data)
    std::printf(", %s of data verified", format_size(report.verified_bytes).c_str());
  else
    std::printf("; --data verifies all data too");
  std::printf("\n");
}

Result<ExitCode> check(const OptionsOfCheck& options) {
  const auto config = load_pool_config(options.pool);
  if (!config) return std::unexpected(config.error());
  Progress progress;
  CheckOptions wanted;
  wanted.data = options.data;
  wanted.progress = [&](const std::string& doing, uint64_t done, uint64_t all) {
    progress.tell(doing, done, all);
  };
  const auto report = run_task<CheckReport>([&] { return check_pool(*config, wanted); });
  if (!report) return std::unexpected(explain_use(*config, report.error()));
  if (options.json)
    print_json(*report);
  else
    print_for_people(*report, options.data);
  return report->damaged() ? ExitCode::no : ExitCode::done;
}

}  // namespace

void add_check(CommandLine& line) {
  const auto options = std::make_shared<OptionsOfCheck>();
  line.command("check", "Look for damage in a pool that is not mounted; changes nothing")
      .word("POOL", options->pool, "A pool file (YAML), or the file or partition that is the pool")
      .flag("--data", options->data, "Verify all data, too")
      .json(options->json)
      .example("lamina check /srv/pool.img --data")
      .action([options] { return check(*options); });
}

}  // namespace lamina
