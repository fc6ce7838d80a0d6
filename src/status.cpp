// SPDX-License-Identifier: Apache-2.0
// lamina status: how a mounted pool is.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/units.h"
#include "commands.h"
#include "config/quantity.h"
#include "lamina_path.h"
#include "status_report.h"
#include "text_table.h"

namespace lamina {
namespace {

using Json = nlohmann::ordered_json;

std::string size_at(const Json& status, const char* key) {
  const auto found = status.find(key);
  if (found == status.end() || !found->is_number()) return "?";
  const auto bytes = found->get<uint64_t>();
  return format_size(bytes) + (bytes < kib ? " bytes" : "");
}

std::string text_at(const Json& status, const char* key) {
  const auto found = status.find(key);
  if (found == status.end()) return "?";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

// One line of nested facts: "state idle, policy cleaning".
std::string joined(const Json& object) {
  if (!object.is_object()) return object.is_null() ? "?" : object.dump();
  std::string text;
  for (const auto& [key, value] : object.items()) {
    if (value.is_object()) continue;
    if (!text.empty()) text += ", ";
    text += key + " ";
    text += value.is_string() ? value.get<std::string>() : value.is_null() ? "-" : value.dump();
  }
  return text;
}

// ", 1.25 times as much: payload 1M, record_headers 64K": largest first, none that is nothing.
std::string by_cause(const Json& status) {
  const auto written = status.find("written"), times = status.find("write_amplification");
  if (written == status.end() || !written->is_object() || !times->is_number()) return "";
  std::vector<std::pair<uint64_t, std::string>> causes;
  for (const auto& [cause, bytes] : written->items())
    if (bytes != 0) causes.emplace_back(bytes.get<uint64_t>(), cause);
  std::sort(causes.rbegin(), causes.rend());
  std::string text = ", " + times->dump() + " times as much";
  for (size_t i = 0; i < causes.size(); ++i)
    text += (i == 0 ? ": " : ", ") + causes[i].second + " " + format_size(causes[i].first);
  return text;
}

void print_for_people(const Json& status) {
  std::printf("pool      %s  %s\n", text_at(status, "pool").c_str(),
              text_at(status, "uuid").c_str());
  std::printf("health    %s\n", text_at(status, "health").c_str());
  std::printf("space     %s of %s used, %s free\n", size_at(status, "used").c_str(),
              size_at(status, "size").c_str(), size_at(status, "free").c_str());
  if (const auto warning = status.find("space_warning");
      warning != status.end() && warning->is_number())
    std::printf(
        "warning   %s %% of the space is used: delete, discard (fstrim), or `lamina blob grow`\n",
        warning->dump().c_str());
  std::printf("devices   %s with %s extents, %s of metadata\n", text_at(status, "devices").c_str(),
              text_at(status, "extents").c_str(), size_at(status, "metadata_bytes").c_str());
  std::printf("log       %s to roll forward, %s not durable yet\n",
              size_at(status, "log_bytes").c_str(), size_at(status, "tail_bytes").c_str());
  std::printf("written   %s by users, %s to the medium%s\n",
              size_at(status, "written_user").c_str(), size_at(status, "written_medium").c_str(),
              by_cause(status).c_str());
  std::printf("lost      %s ranges\n", text_at(status, "lost_ranges").c_str());
  if (status.value("survived_failures", uint64_t{0}) > 0)
    std::printf("survived  %s failed writes or flushes of disks\n",
                text_at(status, "survived_failures").c_str());
  if (const auto leaving = status.find("evacuation");
      leaving != status.end() && leaving->is_object()) {
    const std::string why = leaving->value("why", "");
    std::printf("leaving   %s: %s, %s of data in %s segments left%s\n",
                text_at(*leaving, "blob").c_str(), text_at(*leaving, "state").c_str(),
                size_at(*leaving, "left_bytes").c_str(), text_at(*leaving, "left_segments").c_str(),
                why.empty() ? "" : (": " + why).c_str());
  }
  for (const Json& origin : status.value("origins", Json::array()))
    std::printf("origin    %s, of %s devices: %s\n", text_at(origin, "path").c_str(),
                text_at(origin, "devices").c_str(), text_at(origin, "health").c_str());
  for (const char* key : {"mover", "defrag", "scrub", "walk", "kernel", "process"})
    if (status.contains(key)) std::printf("%-9s %s\n", key, joined(status[key]).c_str());
  if (status.contains("blobs")) std::printf("\n%s", blob_table(*status.find("blobs")).c_str());
}

}  // namespace

void add_status(CommandLine& line) {
  struct Options {
    std::string mount;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  line.command("status", "Say how a mounted pool is")
      .word("MOUNT", options->mount, "Where the pool is mounted")
      .json(options->json)
      .example("lamina status /mnt/pool")
      .action([options]() -> Result<ExitCode> {
        auto status = read_status(options->mount);
        if (!status) return forward_error(status);
        if (options->json)
          std::printf("%s\n", status->dump(2).c_str());
        else
          print_for_people(*status);
        return ExitCode::done;
      });
}

}  // namespace lamina
