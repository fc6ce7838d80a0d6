// SPDX-License-Identifier: Apache-2.0
// lamina origin: images outside the pool that a device is read through to.
#include "origin.h"

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "commands.h"
#include "config/quantity.h"
#include "status_report.h"
#include "text_table.h"

namespace lamina {
namespace {

using Json = nlohmann::ordered_json;

struct OriginOptions {
  std::string device, set, moved_to;
  bool accept = false, json = false;
};

std::string absolute(const std::string& file) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(file, error);
  return error ? std::filesystem::absolute(file).lexically_normal().string() : real.string();
}

// Errors of the control plane are numbers; what was the matter is in the status.
Result<> ask(const LaminaPath& device, const std::string& key, const std::string& value,
             const std::string& what) {
  auto asked = set_control(device, key, value);
  if (asked) return asked;
  const auto status = read_status(device.mount);
  const std::string why = status ? status->value("origin_refused", "") : "";
  if (why.empty()) return asked;
  return fail(asked.error().code, what + " " + device.path() + ": " + why);
}

// Of the images of the pool, those that the device may refer to.
Result<Json> origins_of(const LaminaPath& device) {
  const auto files = get_control(device, "origin_file");
  if (!files) return std::unexpected(files.error());
  auto status = read_status(device.mount);
  if (!status) return forward_error(status);
  std::set<std::string> named;
  std::istringstream lines(*files);
  for (std::string line; std::getline(lines, line);) named.insert(line);
  Json all = Json::array();
  for (const Json& origin : status->value("origins", Json::array()))
    if (named.contains(origin.value("path", ""))) all.push_back(origin);
  return all;
}

Result<ExitCode> show(const LaminaPath& device, bool json) {
  const auto origins = origins_of(device);
  if (!origins) return std::unexpected(origins.error());
  bool good = true;
  for (const Json& origin : *origins) good = good && origin.value("health", "") == "ok";
  const ExitCode code = good ? ExitCode::done : ExitCode::no;
  if (json) {
    std::printf("%s\n", origins->dump(2).c_str());
    return code;
  }
  if (origins->empty()) {
    std::printf("%s has no external origin\n", device.path().c_str());
    return code;
  }
  using Align = TextTable::Align;
  TextTable table({{"FILE"}, {"SIZE", Align::right}, {"DEVICES", Align::right}, {"HEALTH"}});
  for (const Json& origin : *origins)
    table.row({origin.value("path", "?"), format_size(origin.value("size", uint64_t{0})),
               std::to_string(origin.value("devices", uint64_t{0})), origin.value("health", "?")});
  std::printf("%s", table.text().c_str());
  return code;
}

Result<ExitCode> origin(const OriginOptions& options) {
  const bool accepts = options.accept || !options.moved_to.empty();
  if (accepts && !options.set.empty())
    return fail(Code::invalid,
                "--set is for a device that has no origin, --accept for one that has");
  const auto device = find_device(options.device, true);
  if (!device) return std::unexpected(device.error());
  if (!options.set.empty()) LAMINA_TRY(set_origin_file(*device, options.set));
  if (accepts) {
    const std::string value = options.moved_to.empty() ? "1" : absolute(options.moved_to);
    LAMINA_TRY(ask(*device, "origin_accept", value, "cannot accept the external origin of"));
  }
  return show(*device, options.json);
}

}  // namespace

Result<> set_origin_file(const LaminaPath& device, const std::string& file) {
  return ask(device, "origin_file", absolute(file), "cannot give an external origin to");
}

void add_origin(CommandLine& line) {
  const auto options = std::make_shared<OriginOptions>();
  line.command("origin",
               "Show, set or accept the raw images outside that a device is read through to")
      .word("DEVICE", options->device, "MOUNT/NAME")
      .option("--set", options->set, "FILE",
              "Of an empty device: the image, which is never changed")
      .flag("--accept", options->accept, "Images that have changed are right as they are now")
      .option("--moved-to", options->moved_to, "FILE", "The one that is gone is there now")
      .json(options->json)
      .example(
          "lamina origin /mnt/pool/vm2\n"
          "  lamina origin /mnt/pool/vm2 --set /srv/images/debian12.raw\n"
          "  lamina origin /mnt/pool/vm2 --accept")
      .action([options] { return origin(*options); });
}

}  // namespace lamina
