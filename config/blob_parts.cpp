// SPDX-License-Identifier: Apache-2.0
#include "config/blob_parts.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace lamina {
namespace {

constexpr uint64_t to_the_end = UINT64_MAX;

// A range of bytes of something with one identity.
struct Part {
  std::string identity;
  uint64_t begin = 0;
  uint64_t end = to_the_end;
};

uint64_t saturating_add(uint64_t a, uint64_t b) {
  return b > to_the_end - a ? to_the_end : a + b;
}

uint64_t read_number(const std::filesystem::path& path) {
  std::ifstream file(path);
  uint64_t number = 0;
  file >> number;
  return number;
}

std::string read_word(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

// The whole disk that a block device is or lies on, and the bytes of it that are the device.
Part part_of_device(dev_t device) {
  const std::string number = std::to_string(major(device)) + ":" + std::to_string(minor(device));
  const std::filesystem::path sysfs = "/sys/dev/block/" + number;
  std::error_code ignored;
  if (!std::filesystem::exists(sysfs / "partition", ignored)) return {"device " + number};
  constexpr uint64_t sysfs_sector = 512;  // whatever the device's own sectors are
  const uint64_t begin = read_number(sysfs / "start") * sysfs_sector;
  const uint64_t length = read_number(sysfs / "size") * sysfs_sector;
  const std::filesystem::path disk = std::filesystem::canonical(sysfs, ignored).parent_path();
  return {"device " + read_word(disk / "dev"), begin, saturating_add(begin, length)};
}

Part part_of(const BlobConfig& blob) {
  struct stat status {};
  Part whole{"path " + blob.path};
  if (stat(blob.path.c_str(), &status) == 0) {
    if (S_ISBLK(status.st_mode))
      whole = part_of_device(status.st_rdev);
    else
      whole = {"file " + std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino)};
  }
  Part part = whole;
  part.begin = saturating_add(whole.begin, blob.offset);
  if (blob.size != 0) part.end = saturating_add(part.begin, blob.size);
  return part;
}

}  // namespace

std::optional<std::pair<size_t, size_t>> overlapping_blobs(const std::vector<BlobConfig>& blobs) {
  std::vector<Part> parts;
  for (const BlobConfig& blob : blobs) parts.push_back(part_of(blob));
  for (size_t later = 1; later < parts.size(); ++later) {
    for (size_t earlier = 0; earlier < later; ++earlier) {
      const Part &a = parts[earlier], &b = parts[later];
      if (a.identity == b.identity && a.begin < b.end && b.begin < a.end)
        return std::pair{earlier, later};
    }
  }
  return std::nullopt;
}

}  // namespace lamina
