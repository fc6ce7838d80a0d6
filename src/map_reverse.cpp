// SPDX-License-Identifier: Apache-2.0
#include "map_reverse.h"

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/units.h"
#include "config/quantity.h"
#include "lamina_path.h"
#include "mount_table.h"
#include "status_report.h"

namespace lamina {
namespace {

using Json = nlohmann::ordered_json;

struct ServedBlob {
  LaminaPath mount;
  std::string name;
};

// The blob of a mounted pool that lies on `typed`, whatever link names it.
Result<ServedBlob> find_blob(const std::string& typed) {
  std::error_code error;
  for (const MountEntry& mount : read_mount_table()) {
    if (mount.type != lamina_mount_type) continue;
    const auto status = read_status(mount.point);
    if (!status) continue;
    for (const auto& blob : status->value("blobs", Json::array()))
      if (std::filesystem::equivalent(blob.value("path", ""), typed, error)) {
        auto where = find_mount(mount.point);
        if (!where) return forward_error(where);
        return ServedBlob{std::move(*where), blob.value("name", "")};
      }
  }
  return fail(Code::not_found,
              typed + " holds no blob of a pool that is mounted here; `lamina inspect " + typed +
                  "@OFFSET` decodes what lies on a disk that is not");
}

void print_segment(const Json& place) {
  if (place["segment"].is_null()) return;
  const Json& segment = place["segment"];
  std::printf("segment   %s, generation %s, class %s; block %s of it\n",
              segment["index"].dump().c_str(), segment["generation"].dump().c_str(),
              segment["class"].get<std::string>().c_str(), segment["block"].dump().c_str());
  if (const Json& frame = place["frame"]; !frame.is_null())
    std::printf("frames    %s from frame %s on have a part of it\n", frame["count"].dump().c_str(),
                frame["first"].dump().c_str());
  if (const Json& node = place["node"]; !node.is_null())
    std::printf("node      %s, level %s\n", node["id"].dump().c_str(),
                node["level"].dump().c_str());
}

void print_place(const Json& place) {
  std::printf("%s    at %s of blob %s\n", place["what"].get<std::string>().c_str(),
              place["offset"].dump().c_str(), place["blob"].get<std::string>().c_str());
  print_segment(place);
  for (const Json& user : place["users"]) {
    const std::string name = user.value("device", "");
    std::printf(
        "%s %s: %s bytes at %s%s\n", user.value("read_only", false) ? "snapshot " : "device   ",
        name.empty() ? "(removed, still open)" : name.c_str(), user["length"].dump().c_str(),
        user["begin"].dump().c_str(), user.value("alias", false) ? ", shared by a copy" : "");
  }
  if (place.value("more", false)) std::printf("... and more than are listed\n");
}

}  // namespace

Result<ExitCode> print_reverse_map(const std::string& disk, const std::string& offset, bool json) {
  const auto at = parse_size(offset);
  if (!at) return fail(Code::invalid, "the offset: " + at.error().message);
  const auto blob = find_blob(disk);
  if (!blob) return std::unexpected(blob.error());
  const auto text = get_control(blob->mount, "reverse@" + std::to_string(*at) + "@" + blob->name);
  if (!text) {
    if (text.error().code == Code::invalid)
      return fail(Code::invalid, "the blob " + blob->name + " on " + disk + " does not reach to " +
                                     std::to_string(*at));
    return std::unexpected(text.error());
  }
  const Json place = Json::parse(*text, nullptr, false);
  if (!place.is_object() || !place.contains("users"))
    return fail(Code::corrupt,
                "what the daemon says is not what this program can read; is it "
                "another version's?");
  if (json)
    std::printf("%s\n", place.dump(2).c_str());
  else
    print_place(place);
  return ExitCode::done;
}

}  // namespace lamina
