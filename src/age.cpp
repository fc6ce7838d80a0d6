// SPDX-License-Identifier: Apache-2.0
// lamina age: data goes to the lower tiers now, and not when it would.
#include <algorithm>
#include <chrono>
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

struct AgeOptions {
  std::string mount;
  bool json = false;
};

Result<Json> mover_status(const std::string& mount) {
  auto status = read_status_with(mount, "mover");
  if (!status) return forward_error(status);
  Json mover = (*status)["mover"];
  mover["data_bytes"] = status->value("data_bytes", uint64_t{0});
  return mover;
}

Result<ExitCode> age(const AgeOptions& options) {
  const auto mount = find_mount(options.mount);
  if (!mount) return std::unexpected(mount.error());
  const auto before = mover_status(mount->mount);
  if (!before) return std::unexpected(before.error());
  const auto asked = set_control(*mount, "age", "1");
  if (!asked && asked.error().code == Code::unsupported)
    return fail(Code::unsupported,
                "the pool at " + mount->mount +
                    " has one tier only, so there is none for data to age to; a pool file can name "
                    "blobs of kind transparent or compression in tiers of their own");
  LAMINA_TRY(asked);
  auto now = mover_status(mount->mount);
  if (!now) return forward_error(now);
  const uint64_t wanted = number_in(*now, "aging_asked");
  const uint64_t all = number_in(*before, "data_bytes");
  Progress progress;
  const auto aged = [&] {
    return number_in(*now, "aged_bytes") - number_in(*before, "aged_bytes");
  };
  for (auto wait = first_poll; number_in(*now, "aging_answered") < wanted;
       wait = std::min(2 * wait, between_polls)) {
    progress.tell("aging, bytes", std::min(aged(), all), all);
    std::this_thread::sleep_for(wait);
    now = mover_status(mount->mount);
    if (!now) return forward_error(now);
  }
  if (options.json)
    std::printf("%s\n", Json{{"aged_bytes", aged()}}.dump(2).c_str());
  else
    std::printf("%s went to lower tiers\n", format_size(aged()).c_str());
  return ExitCode::done;
}

}  // namespace

void add_age(CommandLine& line) {
  const auto options = std::make_shared<AgeOptions>();
  line.command("age", "Move data to the lower tiers now, as far as they have room")
      .word("MOUNT", options->mount, "Where the pool is mounted")
      .json(options->json)
      .example("lamina age /mnt/pool && lamina blob ls /mnt/pool")
      .action([options] { return age(*options); });
}

}  // namespace lamina
