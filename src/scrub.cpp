// SPDX-License-Identifier: Apache-2.0
// lamina scrub: everything on the disks is compared with its checksums.
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <thread>

#include "commands.h"
#include "config/quantity.h"
#include "lamina_path.h"
#include "progress.h"
#include "status_report.h"

namespace lamina {
namespace {

using Json = nlohmann::ordered_json;

volatile sig_atomic_t interrupted = 0;

struct ScrubOptions {
  std::string mount;
  bool background = false, stop = false, json = false;
};

Result<Json> scrub_status(const std::string& mount) {
  auto status = read_status_with(mount, "scrub");
  if (!status) return forward_error(status);
  Json scrub = (*status)["scrub"];
  scrub["healed"] = status->value("healed", uint64_t{0});
  return scrub;
}

ExitCode report(const std::string& mount, const Json& before, const Json& now, bool json) {
  const uint64_t done = number_in(now, "done_bytes"), bad = number_in(now, "bad_bytes");
  const auto since_asked = [&](const char* key) {
    return number_in(now, key) - number_in(before, key);
  };
  const uint64_t healed = since_asked("healed"), dropped = since_asked("zeroes_dropped");
  if (json) {
    const Json facts{{"done_bytes", done},
                     {"bad_bytes", bad},
                     {"healed", healed},
                     {"zeroes_dropped", dropped}};
    std::printf("%s\n", facts.dump(2).c_str());
    return bad == 0 ? ExitCode::done : ExitCode::no;
  }
  if (bad == 0)
    std::printf("%s compared, all data is good", format_size(done).c_str());
  else
    std::printf("%s compared; %s of data are lost: %s/.lamina/lost says what of which devices",
                format_size(done).c_str(), format_size(bad).c_str(), mount.c_str());
  std::printf("; %llu damaged blocks of metadata written anew",
              static_cast<unsigned long long>(healed));
  if (dropped > 0)
    std::printf("; %llu ranges of zeroes that hid nothing any more are holes now",
                static_cast<unsigned long long>(dropped));
  std::printf("\n");
  return bad == 0 ? ExitCode::done : ExitCode::no;
}

Result<ExitCode> wait_for_scrub(const ScrubOptions& options, const std::string& mount,
                                const Json& before) {
  struct sigaction interrupt {};
  interrupt.sa_handler = [](int) { interrupted = 1; };
  sigaction(SIGINT, &interrupt, nullptr);
  auto now = scrub_status(mount);
  if (!now) return forward_error(now);
  const uint64_t wanted = number_in(*now, "asked");
  Progress progress;
  for (auto wait = first_poll; number_in(*now, "answered") < wanted;
       wait = std::min(2 * wait, between_polls)) {
    if (interrupted)
      return fail(Code::busy, "it goes on in the background; lamina scrub --stop " + mount +
                                  " ends it, lamina scrub " + mount + " waits for it again");
    progress.tell("scrubbing, bytes", number_in(*now, "done_bytes"), number_in(*now, "all_bytes"));
    std::this_thread::sleep_for(wait);
    now = scrub_status(mount);
    if (!now) return forward_error(now);
  }
  const Json ended = now->value("ended", Json());
  if (ended == "done") return report(mount, before, *now, options.json);
  return fail(Code::busy, "ended early: " + (ended.is_string() ? ended.get<std::string>()
                                                               : std::string("unknown")));
}

Result<ExitCode> scrub(const ScrubOptions& options) {
  const auto mount = find_mount(options.mount);
  if (!mount) return std::unexpected(mount.error());
  const auto before = scrub_status(mount->mount);
  if (!before) return std::unexpected(before.error());
  LAMINA_TRY(set_control(*mount, "scrub", options.stop ? "0" : "1"));
  if (options.stop || options.background) return ExitCode::done;
  return wait_for_scrub(options, mount->mount, *before);
}

}  // namespace

void add_scrub(CommandLine& line) {
  const auto options = std::make_shared<ScrubOptions>();
  line.command("scrub",
               "Compare everything on the disks with its checksums; damaged metadata is written "
               "anew, lost data listed")
      .word("MOUNT", options->mount, "Where the pool is mounted")
      .flag("--background", options->background, "Do not wait; status says how far it is")
      .flag("--stop", options->stop, "End the one under way; the next goes on from there")
      .json(options->json)
      .example("lamina scrub /mnt/pool")
      .action([options] { return scrub(*options); });
}

}  // namespace lamina
