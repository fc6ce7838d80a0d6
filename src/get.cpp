// SPDX-License-Identifier: Apache-2.0
// lamina get: the control attributes of a device or a mount.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "control_target.h"

namespace lamina {
namespace {

struct GetOptions {
  std::string path;
  std::vector<std::string> keys;
  bool json = false;
};

std::string as_text(const nlohmann::ordered_json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

Result<ExitCode> get(const GetOptions& options) {
  const auto target = find_control_target(options.path);
  if (!target) return std::unexpected(target.error());
  nlohmann::ordered_json facts = nlohmann::ordered_json::object();
  if (options.keys.empty()) {
    const auto all = get_control(*target, "");
    if (!all) return std::unexpected(all.error());
    facts = nlohmann::ordered_json::parse(*all, nullptr, false);
  }
  for (const std::string& key : options.keys) {
    const auto value = get_control(*target, without_control_prefix(key));
    if (!value) return std::unexpected(value.error());
    facts[key] = *value;
  }
  if (options.json) {
    std::printf("%s\n", facts.dump(2).c_str());
  } else if (options.keys.size() == 1) {
    std::printf("%s\n", as_text(facts[options.keys[0]]).c_str());
  } else {
    for (const auto& [key, value] : facts.items())
      std::printf("%s=%s\n", key.c_str(), as_text(value).c_str());
  }
  return ExitCode::done;
}

}  // namespace

void add_get(CommandLine& line) {
  const auto options = std::make_shared<GetOptions>();
  line.command("get", "Read the control attributes (user.lamina.*) of a device or a mount")
      .word("PATH", options->path, "MOUNT or MOUNT/NAME")
      .words("KEY", options->keys, "Which; all without", false)
      .json(options->json)
      .example("lamina get /mnt/pool/vm1 mapped read_only")
      .action([options] { return get(*options); });
}

}  // namespace lamina
