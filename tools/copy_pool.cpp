// SPDX-License-Identifier: Apache-2.0
#include "tools/copy_pool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

namespace lamina {
namespace {

constexpr size_t chunk_bytes = 4 * mib;

std::unexpected<Error> failed(const std::string& path) {
  return fail(errno == ENOSPC ? Code::no_space : Code::io, path + ": " + std::strerror(errno));
}

class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : fd_(open(path.c_str(), flags, 0600)) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator int() const { return fd_; }

 private:
  const int fd_;
};

// Where data begins and ends from `at` on; on a device all of it is data.
std::pair<off_t, off_t> next_data(int fd, off_t at, off_t end) {
  const off_t begin = lseek(fd, at, SEEK_DATA);
  if (begin < 0) return errno == ENXIO ? std::pair{end, end} : std::pair{at, end};
  const off_t hole = lseek(fd, begin, SEEK_HOLE);
  return {std::min(begin, end), hole < 0 ? end : std::min(hole, end)};
}

Result<> copy_member(const BlobConfig& blob, const std::string& to, const CopyProgress& progress) {
  const Descriptor in(blob.path, O_RDONLY | O_CLOEXEC);
  if (in < 0) return failed(blob.path);
  const Descriptor out(to, O_RDWR | O_CREAT | O_CLOEXEC);
  if (out < 0) return failed(to);
  struct stat there {};
  if (fstat(out, &there) != 0) return failed(to);
  if (S_ISREG(there.st_mode) && there.st_size > 0)
    return fail(Code::exists, to + " is there already, and is not empty; nothing was changed");
  const auto from = static_cast<off_t>(blob.offset);
  const off_t whole = lseek(in, 0, SEEK_END);
  if (whole < 0) return failed(blob.path);
  const off_t end = blob.size > 0 ? from + static_cast<off_t>(blob.size) : whole;
  if (S_ISREG(there.st_mode) && ftruncate(out, end - from) != 0) return failed(to);
  if (!S_ISREG(there.st_mode) && lseek(out, 0, SEEK_END) < end - from)
    return fail(Code::no_space, to + " is smaller than " + blob.path);
  std::vector<char> chunk(chunk_bytes);
  for (off_t at = from; at < end;) {
    const auto [begin, until] = next_data(in, at, end);
    for (at = begin; at < until;) {
      const auto wanted = std::min<size_t>(chunk.size(), static_cast<size_t>(until - at));
      const ssize_t got = pread(in, chunk.data(), wanted, at);
      if (got <= 0) return failed(blob.path);
      if (pwrite(out, chunk.data(), static_cast<size_t>(got), at - from) != got) return failed(to);
      at += got;
      progress("copying " + blob.path, static_cast<uint64_t>(at - from),
               static_cast<uint64_t>(end - from));
    }
  }
  if (fsync(out) != 0) return failed(to);
  return {};
}

Result<> write_pool_file(const PoolConfig& config, const std::string& path) {
  std::ofstream file(path);
  file << "pool: " << config.name << "\nblobs:\n";
  for (const BlobConfig& blob : config.blobs)
    file << "  - {name: " << blob.name << ", kind: " << kind_name(blob.kind)
         << ", tier: " << blob.tier << ", path: " << blob.path << "}\n";
  file.close();
  if (!file) return failed(path);
  return {};
}

}  // namespace

Result<PoolConfig> copy_pool(const PoolConfig& config, const std::string& to,
                             const CopyProgress& progress) {
  PoolConfig copy = config;
  const std::filesystem::path target = std::filesystem::absolute(to).lexically_normal();
  const bool several = config.from_yaml;
  if (several && mkdir(target.c_str(), 0700) != 0)
    return fail(errno == EEXIST ? Code::exists : Code::io,
                target.string() + ": " + std::strerror(errno) +
                    "; the copy of a pool with a pool file is a new folder");
  for (BlobConfig& blob : copy.blobs) {
    const std::string path = several ? target / (blob.name + ".img") : target;
    LAMINA_TRY(copy_member(blob, path, progress));
    blob.path = path;
    blob.offset = blob.size = 0;
  }
  copy.file = several ? target / (copy.name + ".yaml") : target;
  if (several) LAMINA_TRY(write_pool_file(copy, copy.file));
  return copy;
}

}  // namespace lamina
