// SPDX-License-Identifier: Apache-2.0
#include "blobs/disk_claim.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/mutex.h"

namespace lamina {
namespace {

struct Range {
  uint64_t begin, end;
  friend bool operator==(const Range&, const Range&) = default;
};

// The block devices that this process has opened exclusively, and the parts of them in use.
struct Registry {
  struct Device {
    int fd;
    std::vector<Range> parts;
  };
  Mutex mutex;
  std::map<dev_t, Device> devices GUARDED_BY(mutex);
};

Registry& registry() {
  static auto* const one = new Registry;  // outlives every static that may hold a claim
  return *one;
}

Error busy_part(const std::string& path) {
  return {Code::busy, path + ": this part overlaps one that is in use already"};
}

Result<> claim_block_device(const std::string& path, dev_t device, Range range) {
  Registry& known = registry();
  const Lock lock(known.mutex);
  auto found = known.devices.find(device);
  if (found == known.devices.end()) {
    const int fd = open(path.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC);
    if (fd < 0 && errno == EBUSY)
      return fail(Code::busy, path +
                                  ": is mounted, part of a RAID or volume group, or used by "
                                  "another daemon; `lsblk " +
                                  path + "` shows by what");
    if (fd < 0) return fail(Code::io, path + ": cannot be opened: " + std::strerror(errno));
    found = known.devices.emplace(device, Registry::Device{fd, {}}).first;
  }
  std::vector<Range>& parts = found->second.parts;
  if (std::any_of(parts.begin(), parts.end(), [&](const Range& other) {
        return range.begin < other.end && other.begin < range.end;
      }))
    return std::unexpected<Error>(busy_part(path));
  parts.push_back(range);
  return {};
}

void release_block_device(dev_t device, Range range) {
  Registry& known = registry();
  const Lock lock(known.mutex);
  const auto found = known.devices.find(device);
  LAMINA_CHECK(found != known.devices.end());
  std::vector<Range>& parts = found->second.parts;
  const auto part = std::find(parts.begin(), parts.end(), range);
  LAMINA_CHECK(part != parts.end());
  parts.erase(part);
  if (!parts.empty()) return;
  close(found->second.fd);
  known.devices.erase(found);
}

Result<> lock_file(const std::string& path, int fd, const DiskClaim::Part& part) {
  const bool whole = part.offset == 0 && part.length == 0;
  if (flock(fd, (whole && !part.shared ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK)
      return fail(Code::busy,
                  path + ": is in use by another process; `fuser -v " + path + "` shows by which");
    return fail(Code::io, path + ": cannot be locked: " + std::strerror(errno));
  }
  struct flock range {};
  range.l_type = part.shared ? F_RDLCK : F_WRLCK;
  range.l_whence = SEEK_SET;
  range.l_start = static_cast<off_t>(part.offset);
  range.l_len = static_cast<off_t>(part.length);  // 0: to infinity
  if (fcntl(fd, F_OFD_SETLK, &range) == 0) return {};
  if (errno == EAGAIN || errno == EACCES) return std::unexpected<Error>(busy_part(path));
  return fail(Code::io, path + ": cannot be locked: " + std::strerror(errno));
}

}  // namespace

Result<DiskClaim> DiskClaim::take(const std::string& path, int fd, const struct stat& about,
                                  const Part& part) {
  DiskClaim claim;
  if (!S_ISBLK(about.st_mode)) {
    LAMINA_TRY(lock_file(path, fd, part));
    return claim;
  }
  const Range range{part.offset, part.length == 0 ? UINT64_MAX : part.offset + part.length};
  LAMINA_TRY(claim_block_device(path, about.st_rdev, range));
  claim.block_device_ = true;
  claim.device_ = about.st_rdev;
  claim.begin_ = range.begin;
  claim.end_ = range.end;
  return claim;
}

DiskClaim::DiskClaim(DiskClaim&& other) noexcept {
  *this = std::move(other);
}

DiskClaim& DiskClaim::operator=(DiskClaim&& other) noexcept {
  std::swap(block_device_, other.block_device_);
  std::swap(device_, other.device_);
  std::swap(begin_, other.begin_);
  std::swap(end_, other.end_);
  return *this;
}

DiskClaim::~DiskClaim() {
  if (block_device_) release_block_device(device_, {begin_, end_});
}

}  // namespace lamina
