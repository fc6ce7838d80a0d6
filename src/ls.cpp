// SPDX-License-Identifier: Apache-2.0
// lamina ls: the devices of a mounted pool.
#include <dirent.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <thread>

#include "commands.h"
#include "config/quantity.h"
#include "lamina_path.h"
#include "loop_device.h"
#include "progress.h"
#include "status_report.h"
#include "text_table.h"

namespace lamina {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::chrono::milliseconds between_looks{160};

Result<std::vector<std::string>> names_in(const LaminaPath& mount) {
  DIR* folder = opendir(mount.mount.c_str());
  if (folder == nullptr) return system_error("cannot list", mount.mount, errno);
  std::vector<std::string> names;
  while (const dirent* entry = readdir(folder)) names.emplace_back(entry->d_name);
  closedir(folder);
  std::erase_if(names, [](const std::string& name) { return name == "." || name == ".."; });
  std::sort(names.begin(), names.end());
  return names;
}

uint64_t number(const Json& from, const char* key, uint64_t otherwise = 0) {
  const auto found = from.find(key);
  if (found == from.end()) return otherwise;
  if (found->is_number_unsigned()) return found->get<uint64_t>();
  return otherwise;
}

// The facts of one device, every key that `ls --json` promises.
Result<Json> facts_of(const LaminaPath& device, const std::vector<LoopDevice>& loops) {
  auto status = stat_device(device);
  if (!status) return forward_error(status);
  const auto control = get_control(device, "");
  Json told = Json::object();
  if (control) told = Json::parse(*control, nullptr, false);
  if (!told.is_object()) told = Json::object();
  const uint64_t mapped = number(told, "mapped", static_cast<uint64_t>(status->st_blocks) * 512);
  const uint64_t stored = number(told, "stored", mapped);
  Json attached = Json::array();
  for (const LoopDevice& loop : loops)
    if (loop.file_inode == status->st_ino) attached.push_back(loop.path());
  Json facts;
  facts["name"] = device.name;
  facts["id"] = number(told, "id", status->st_ino);
  facts["size"] = static_cast<uint64_t>(status->st_size);
  facts["mapped"] = mapped;
  facts["exclusive"] = told.value("exclusive", Json(mapped));  // null: not counted
  facts["shared"] = told.value("shared", Json(0));
  facts["exclusive_age_s"] = told.value("exclusive_age_s", Json(nullptr));
  facts["reserved"] = number(told, "reserved");
  facts["stored"] = stored;
  facts["ratio"] = stored == 0 ? 1.0 : static_cast<double>(mapped) / static_cast<double>(stored);
  facts["extents"] = number(told, "extents");
  facts["origin"] = told.value("origin", Json(nullptr));
  facts["origin_files"] = told.value("origin_files", Json::array());
  facts["created"] = told.value("created", Json(nullptr));
  facts["read_only"] = told.value("read_only", Json(false));
  facts["attached"] = attached;
  return facts;
}

std::string attached_text(const Json& attached) {
  std::string text;
  for (const Json& loop : attached) {
    if (!text.empty()) text += ',';
    text += loop.get<std::string>();
  }
  return text.empty() ? "-" : text;
}

std::string word(const Json& value) {
  if (value.is_string() && !value.get<std::string>().empty()) return value.get<std::string>();
  return "-";
}

// What it was made from: a device, or else an image outside.
std::string origin_text(const Json& device) {
  std::string text = word(device["origin"]);
  const Json& files = device["origin_files"];
  if (text == "-" && files.is_array() && !files.empty()) text = word(files.front());
  return text;
}

// "3.2G", with its age where it was counted some time ago: "3.2G (5m ago)".
std::string counted_text(const Json& device, const char* key) {
  const auto value = device.find(key);
  if (value == device.end() || !value->is_number_unsigned()) return "-";
  std::string text = format_size(value->get<uint64_t>());
  const uint64_t age = number(device, "exclusive_age_s");
  if (age >= 3600)
    text += " (" + std::to_string(age / 3600) + "h ago)";
  else if (age >= 60)
    text += " (" + std::to_string(age / 60) + "m ago)";
  else if (age > 0)
    text += " (" + std::to_string(age) + "s ago)";
  return text;
}

Result<Json> walk_status(const LaminaPath& mount) {
  auto status = read_status(mount.mount);
  if (!status) return forward_error(status);
  if (!status->contains("walk"))
    return fail(Code::io, "the status of " + mount.mount + " makes no sense");
  return (*status)["walk"];
}

// Until what devices share was counted as of now, or later.
Result<> count_anew(const LaminaPath& mount) {
  LAMINA_TRY(set_control(mount, "walk", "1"));
  auto walk = walk_status(mount);
  if (!walk) return forward_error(walk);
  const uint64_t asked = number(*walk, "asked");
  Progress progress;
  for (auto wait = between_looks / 16; number(*walk, "answered") < asked;
       wait = std::min(2 * wait, between_looks)) {
    progress.tell("counting what is shared, nodes", number(*walk, "done"), number(*walk, "all"));
    std::this_thread::sleep_for(wait);
    walk = walk_status(mount);
    if (!walk) return forward_error(walk);
  }
  if (walk->value("complete", false)) return {};
  return fail(Code::io,
              "the maps of " + mount.mount +
                  " could not be read whole, so nothing was counted; `lamina status` and its log "
                  "say more, `lamina ls` without --fresh shows what was known before");
}

Result<ExitCode> list(const std::string& typed, bool fresh, bool json) {
  const auto mount = find_mount(typed);
  if (!mount) return std::unexpected(mount.error());
  if (fresh) LAMINA_TRY(count_anew(*mount));
  auto names = names_in(*mount);
  if (!names) return forward_error(names);
  const auto loops = loops_in(mount->device);
  Json devices = Json::array();
  for (const std::string& name : *names) {
    LaminaPath device = *mount;
    device.name = name;
    auto facts = facts_of(device, loops);
    if (!facts && facts.error().code == Code::not_found) continue;  // removed meanwhile
    if (!facts) return forward_error(facts);
    devices.push_back(std::move(*facts));
  }
  if (json) {
    std::printf("%s\n", devices.dump(2).c_str());
    return ExitCode::done;
  }
  using Align = TextTable::Align;
  TextTable table({{"NAME"},
                   {"SIZE", Align::right},
                   {"MAPPED", Align::right},
                   {"STORED", Align::right},
                   {"EXCLUSIVE", Align::right},
                   {"SHARED", Align::right},
                   {"EXTENTS", Align::right},
                   {"CREATED"},
                   {"ATTACHED"},
                   {"ORIGIN"}});
  for (const Json& device : devices) {
    std::string name = device["name"].get<std::string>();
    if (device["read_only"] == Json(true)) name += " (read-only)";
    table.row({name, format_size(device["size"].get<uint64_t>()),
               format_size(device["mapped"].get<uint64_t>()),
               format_size(device["stored"].get<uint64_t>()), counted_text(device, "exclusive"),
               counted_text(device, "shared"), std::to_string(device["extents"].get<uint64_t>()),
               word(device["created"]), attached_text(device["attached"]), origin_text(device)});
  }
  std::printf("%s", table.text().c_str());
  return ExitCode::done;
}

}  // namespace

void add_ls(CommandLine& line) {
  struct Options {
    std::string mount;
    bool fresh = false, json = false;
  };
  const auto options = std::make_shared<Options>();
  line.command("ls", "List the devices of a mounted pool")
      .word("MOUNT", options->mount, "Where the pool is mounted")
      .flag("--fresh", options->fresh, "Count anew what devices share, and wait for it")
      .json(options->json)
      .example("lamina ls --fresh /mnt/pool")
      .action([options] { return list(options->mount, options->fresh, options->json); });
}

}  // namespace lamina
