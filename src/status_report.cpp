// SPDX-License-Identifier: Apache-2.0
#include "status_report.h"

#include <cstdio>

#include "config/quantity.h"
#include "lamina_path.h"
#include "mount_table.h"
#include "text_table.h"

namespace lamina {

Result<nlohmann::ordered_json> read_status(const std::string& mount) {
  auto found = find_mount(mount);
  if (!found) return forward_error(found);
  auto text = read_report(*found, "status.json");
  if (!text) return forward_error(text);
  auto status = nlohmann::ordered_json::parse(*text, nullptr, false);
  if (!status.is_object())
    return fail(Code::corrupt, found->mount +
                                   "/.lamina/status.json is not what this program can "
                                   "read; is the daemon of another version?");
  return status;
}

std::optional<Serving> find_serving(const PoolConfig& config) {
  for (const MountEntry& mount : read_mount_table()) {
    if (mount.type != lamina_mount_type) continue;
    const auto status = read_status(mount.point);
    if (!status) continue;
    for (const auto& used : status->value("blobs", nlohmann::ordered_json::array()))
      for (const BlobConfig& blob : config.blobs)
        if (used.value("path", "") == blob.path)
          return Serving{mount.point, mount.source, blob.path};
  }
  return std::nullopt;
}

Error explain_use(const PoolConfig& config, Error error) {
  if (error.code != Code::busy) return error;
  if (const auto serving = find_serving(config))
    error.message = serving->path + " is in use: the pool " + serving->source + " is mounted at " +
                    serving->mount + "; `lamina umount " + serving->mount + "` ends that";
  return error;
}

static std::string ratio(const nlohmann::ordered_json& blob) {
  char text[16];
  return {text,
          static_cast<size_t>(std::snprintf(text, sizeof text, "%.2f", blob.value("ratio", 1.0)))};
}

Result<nlohmann::ordered_json> read_status_with(const std::string& mount, const char* part) {
  auto status = read_status(mount);
  if (status && !status->contains(part))
    return fail(Code::io, "the status of " + mount + " makes no sense");
  return status;
}

uint64_t number_in(const nlohmann::ordered_json& of, const char* key) {
  return of.value(key, uint64_t{0});
}

std::string blob_table(const nlohmann::ordered_json& blobs) {
  using Align = TextTable::Align;
  TextTable table({{"BLOB"},
                   {"KIND"},
                   {"TIER", Align::right},
                   {"SIZE", Align::right},
                   {"USED", Align::right},
                   {"FREE", Align::right},
                   {"DATA", Align::right},
                   {"RATIO", Align::right},
                   {"SAVED", Align::right},
                   {"STATE"},
                   {"HEALTH"},
                   {"PATH"}});
  for (const auto& blob : blobs) {
    const auto size = [&](const char* key) { return format_size(blob.value(key, uint64_t{0})); };
    table.row({blob.value("name", ""), blob.value("kind", ""),
               std::to_string(blob.value("tier", 0)), size("size"), size("used"), size("free"),
               size("data_bytes"), ratio(blob), size("saved_bytes"), blob.value("state", ""),
               blob.value("health", ""), blob.value("path", "")});
  }
  return table.text();
}

}  // namespace lamina
