// SPDX-License-Identifier: Apache-2.0
// lamina defrag: what lies in many places comes to lie in order.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "commands.h"
#include "config/quantity.h"
#include "lamina_path.h"
#include "progress.h"
#include "status_report.h"

namespace lamina {
namespace {

using Json = nlohmann::ordered_json;

volatile sig_atomic_t interrupted = 0;

struct DefragOptions {
  std::string target;
  bool json = false;
};

// Of MOUNT/NAME, or of the mount itself.
Result<LaminaPath> find_target(const std::string& typed) {
  if (auto mount = find_mount(typed); mount && mount->name.empty()) return mount;
  return find_device(typed, true);
}

Result<Json> defrag_status(const std::string& mount) {
  auto status = read_status_with(mount, "defrag");
  if (!status) return forward_error(status);
  return (*status)["defrag"];
}

void report(const LaminaPath& target, const Json& before, const Json& now, bool json) {
  const uint64_t moved = number_in(now, "moved_bytes") - number_in(before, "moved_bytes");
  const uint64_t then = number_in(now, "extents_before"), after = number_in(now, "extents_after");
  const std::string ended = now.value("ended", Json()).is_string() ? now["ended"] : "unknown";
  if (json) {
    std::printf("%s\n", Json{{"moved_bytes", moved},
                             {"extents_before", then},
                             {"extents_after", after},
                             {"ended", ended}}
                            .dump(2)
                            .c_str());
    return;
  }
  std::printf("%s: %llu extents before, %llu after; %s moved\n", target.path().c_str(),
              static_cast<unsigned long long>(then), static_cast<unsigned long long>(after),
              format_size(moved).c_str());
}

Result<ExitCode> defragment(const DefragOptions& options) {
  const auto target = find_target(options.target);
  if (!target) return std::unexpected(target.error());
  LaminaPath mount = *target;
  mount.name.clear();
  const auto before = defrag_status(mount.mount);
  if (!before) return std::unexpected(before.error());
  LAMINA_TRY(set_control(*target, "defrag", "1"));
  struct sigaction interrupt {};
  interrupt.sa_handler = [](int) { interrupted = 1; };
  sigaction(SIGINT, &interrupt, nullptr);
  auto now = defrag_status(mount.mount);
  if (!now) return forward_error(now);
  const uint64_t wanted = number_in(*now, "asked");
  Progress progress;
  bool stopped = false;
  for (auto wait = first_poll; number_in(*now, "answered") < wanted;
       wait = std::min(2 * wait, between_polls)) {
    if (interrupted && !std::exchange(stopped, true)) LAMINA_TRY(set_control(mount, "defrag", "0"));
    progress.tell(stopped ? "ending the batch under way, bytes" : "bringing into order, bytes",
                  number_in(*now, "done_bytes"), number_in(*now, "all_bytes"));
    std::this_thread::sleep_for(wait);
    now = defrag_status(mount.mount);
    if (!now) return forward_error(now);
  }
  report(*target, *before, *now, options.json);
  const Json ended = now->value("ended", Json());
  if (ended == "done") return ExitCode::done;
  return fail(Code::busy, "ended early: " + (ended.is_string() ? ended.get<std::string>()
                                                               : std::string("unknown")));
}

}  // namespace

void add_defrag(CommandLine& line) {
  const auto options = std::make_shared<DefragOptions>();
  line.command(
          "defrag",
          "Bring the extents of a device into order, or of all; Ctrl-C ends it early, and what "
          "was moved stays moved")
      .word("TARGET", options->target, "MOUNT/NAME, or MOUNT for all devices")
      .json(options->json)
      .example("lamina defrag /mnt/pool/vm1")
      .action([options] { return defragment(*options); });
}

}  // namespace lamina
