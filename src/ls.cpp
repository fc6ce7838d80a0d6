// SPDX-License-Identifier: Apache-2.0
// lamina ls: the devices of a mounted pool.
#include <dirent.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "config/quantity.h"
#include "lamina_path.h"
#include "loop_device.h"
#include "text_table.h"

namespace lamina {
namespace {

using Json = nlohmann::ordered_json;

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
  facts["reserved"] = number(told, "reserved");
  facts["stored"] = stored;
  facts["ratio"] = stored == 0 ? 1.0 : static_cast<double>(mapped) / static_cast<double>(stored);
  facts["extents"] = number(told, "extents");
  facts["origin"] = told.value("origin", Json(nullptr));
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

Result<ExitCode> list(const std::string& typed, bool json) {
  const auto mount = find_mount(typed);
  if (!mount) return std::unexpected(mount.error());
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
                   {"EXTENTS", Align::right},
                   {"CREATED"},
                   {"ATTACHED"},
                   {"ORIGIN"}});
  for (const Json& device : devices) {
    std::string name = device["name"].get<std::string>();
    if (device["read_only"] == Json(true)) name += " (read-only)";
    table.row({name, format_size(device["size"].get<uint64_t>()),
               format_size(device["mapped"].get<uint64_t>()),
               std::to_string(device["extents"].get<uint64_t>()), word(device["created"]),
               attached_text(device["attached"]), word(device["origin"])});
  }
  std::printf("%s", table.text().c_str());
  return ExitCode::done;
}

}  // namespace

void add_ls(CommandLine& line) {
  struct Options {
    std::string mount;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  line.command("ls", "List the devices of a mounted pool")
      .word("MOUNT", options->mount, "Where the pool is mounted")
      .json(options->json)
      .example("lamina ls /mnt/pool")
      .action([options] { return list(options->mount, options->json); });
}

}  // namespace lamina
