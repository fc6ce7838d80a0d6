// SPDX-License-Identifier: Apache-2.0
// lamina check: whether a pool is whole. Of one that is mounted the daemon looks, beside its users.
#include "tools/check.h"

#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <thread>

#include "commands.h"
#include "config/pool_config.h"
#include "config/quantity.h"
#include "lamina_path.h"
#include "progress.h"
#include "run_task.h"
#include "status_report.h"

namespace lamina {
namespace {

using Json = nlohmann::ordered_json;

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

volatile sig_atomic_t interrupted = 0;

// Until the daemon has answered.
Result<> wait_for_daemon(const LaminaPath& mount, Progress& progress) {
  struct sigaction interrupt {};
  interrupt.sa_handler = [](int) { interrupted = 1; };
  sigaction(SIGINT, &interrupt, nullptr);
  uint64_t wanted = 0;
  for (auto wait = first_poll;; wait = std::min(2 * wait, between_polls)) {
    const auto status = read_status_with(mount.mount, "check");
    if (!status) return std::unexpected(status.error());
    const Json& check = (*status)["check"];
    if (wanted == 0) wanted = number_in(check, "asked");
    if (number_in(check, "answered") >= wanted) return {};
    if (interrupted) {
      [[maybe_unused]] const auto stopped = set_control(mount, "check", "0");
      return fail(Code::busy, "interrupted; the check of " + mount.mount + " has been ended");
    }
    const Json doing = check.value("doing", Json());
    if (doing.is_string())
      progress.tell(doing.get<std::string>(), number_in(check, "done"), number_in(check, "all"));
    std::this_thread::sleep_for(wait);
  }
}

Result<CheckReport> check_mounted(const std::string& typed, bool data) {
  const auto mount = find_mount(typed);
  if (!mount) return std::unexpected(mount.error());
  const auto asked = set_control(*mount, "check", data ? "data" : "1");
  // The kernel lets no request through that would change something.
  if (!asked && asked.error().code == Code::read_only)
    return fail(Code::read_only, mount->mount + " is mounted read-only and cannot be asked; check "
                                     "the pool by its own name");
  if (!asked) return std::unexpected(asked.error());
  Progress progress;
  if (const auto waited = wait_for_daemon(*mount, progress); !waited)
    return std::unexpected(waited.error());
  const auto text = read_report(*mount, "check.json");
  if (!text) return std::unexpected(text.error());
  const Json json = Json::parse(*text, nullptr, false);
  if (json.is_discarded() || !json.contains("findings"))
    return fail(Code::io, mount->mount + "/.lamina/check.json makes no sense");
  if (json["ended"] != "done")
    return fail(Code::busy, "the check of " + mount->mount + " has ended early: " +
                                (json["ended"].is_string() ? json["ended"].get<std::string>()
                                                           : std::string("unknown")));
  CheckReport report;
  report.pool = json.value("pool", "");
  report.segments = number_in(json, "segments");
  report.devices = number_in(json, "devices");
  report.ranges = number_in(json, "ranges");
  report.verified_bytes = number_in(json, "verified_bytes");
  for (const Json& finding : json["findings"])
    report.findings.push_back(
        {finding.value("rule", ""), finding.value("where", ""), finding.value("what", "")});
  const uint64_t found = number_in(json, "found");
  if (found > report.findings.size())
    report.findings.push_back(
        {"", "and more",
         std::to_string(found - report.findings.size()) + " findings are counted, but not listed"});
  return report;
}

Result<CheckReport> check_offline(const PoolConfig& config, bool data) {
  Progress progress;
  CheckOptions wanted;
  wanted.data = data;
  wanted.progress = [&](const std::string& doing, uint64_t done, uint64_t all) {
    progress.tell(doing, done, all);
  };
  auto report = run_task<CheckReport>([&] { return check_pool(config, wanted); });
  if (!report) return std::unexpected(explain_use(config, report.error()));
  return report;
}

Result<CheckReport> look(const OptionsOfCheck& options) {
  struct stat is {};
  if (stat(options.pool.c_str(), &is) == 0 && S_ISDIR(is.st_mode))
    return check_mounted(options.pool, options.data);
  const auto config = load_pool_config(options.pool);
  if (!config) return std::unexpected(config.error());
  auto report = check_offline(*config, options.data);
  if (report || report.error().code != Code::busy) return report;
  const auto serving = find_serving(*config);
  return serving ? check_mounted(serving->mount, options.data) : report;
}

Result<ExitCode> check(const OptionsOfCheck& options) {
  const auto report = look(options);
  if (!report) return std::unexpected(report.error());
  if (options.json)
    print_json(*report);
  else
    print_for_people(*report, options.data);
  return report->damaged() ? ExitCode::no : ExitCode::done;
}

}  // namespace

void add_check(CommandLine& line) {
  const auto options = std::make_shared<OptionsOfCheck>();
  line.command("check", "Look for damage in a pool, mounted or not; changes nothing")
      .word("POOL", options->pool,
            "A pool file (YAML), the file or partition that is the pool, or where it is mounted")
      .flag("--data", options->data, "Verify all data, too")
      .json(options->json)
      .example("lamina check /srv/pool.img --data\n  lamina check /mnt/pool --json")
      .action([options] { return check(*options); });
}

}  // namespace lamina
