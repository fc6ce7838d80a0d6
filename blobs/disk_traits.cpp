// SPDX-License-Identifier: Apache-2.0
#include "blobs/disk_traits.h"

#include <sys/sysmacros.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

namespace lamina {
namespace {

// The directory with the device's queue limits; a partition's are its disk's. Empty for devices
// that no driver stands behind (btrfs, overlays).
std::string queue_directory(dev_t device) {
  const std::string base =
      "/sys/dev/block/" + std::to_string(major(device)) + ":" + std::to_string(minor(device));
  std::error_code ignored;
  for (const char* const place : {"/queue/", "/../queue/"})
    if (std::filesystem::is_directory(base + place, ignored)) return base + place;
  return {};
}

std::optional<uint32_t> number(const std::string& path) {
  std::ifstream file(path);
  uint64_t value;
  if (!(file >> value) || value > UINT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(value);
}

bool says(const std::string& path, const std::string& what) {
  std::ifstream file(path);
  std::string line;
  return std::getline(file, line) && line == what;
}

}  // namespace

DiskTraits probe_disk_traits(const struct stat& about) {
  DiskTraits traits;
  traits.block_device = S_ISBLK(about.st_mode);
  const std::string queue = queue_directory(traits.block_device ? about.st_rdev : about.st_dev);
  if (!queue.empty()) {
    traits.rotational = number(queue + "rotational").value_or(0) != 0;
    traits.optimal_io_bytes = number(queue + "optimal_io_size").value_or(0);
  }
  if (!traits.block_device) {
    // Punching a hole gives back whole blocks of the file system. The write cache stays: what
    // a file system still has to write for a file is not durable, whatever its device is.
    traits.discard_granularity = static_cast<uint32_t>(about.st_blksize);
    return traits;
  }
  if (queue.empty()) return traits;
  traits.write_cache = !says(queue + "write_cache", "write through");
  if (!says(queue + "discard_max_bytes", "0"))
    traits.discard_granularity = number(queue + "discard_granularity").value_or(0);
  return traits;
}

}  // namespace lamina
