// SPDX-License-Identifier: Apache-2.0
#include "tools/block_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace lamina {

Result<BlockReader> BlockReader::open(const std::string& path) {
  int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  if (file < 0 && errno == EINVAL) file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return fail(errno == ENOENT ? Code::not_found : Code::access,
                "cannot open " + path + ": " + std::strerror(errno));
  const off_t end = lseek(file, 0, SEEK_END);
  if (end < 0) {
    const int error_number = errno;
    close(file);
    return fail(Code::invalid,
                path + " is neither a file nor a disk: " + std::strerror(error_number));
  }
  return BlockReader(path, file, static_cast<uint64_t>(end));
}

BlockReader::BlockReader(BlockReader&& other) noexcept
    : path_(std::move(other.path_)), file_(std::exchange(other.file_, -1)), size_(other.size_) {}

BlockReader::~BlockReader() {
  if (file_ >= 0) close(file_);
}

Result<Buffer> BlockReader::read(uint64_t offset, size_t blocks) const {
  Buffer buffer(blocks * block_size);
  if (offset > size_ || size_ - offset < buffer.size())
    return fail(Code::invalid, path_ + " ends at " + std::to_string(size_) +
                                   ", before the end of "
                                   "the block at " +
                                   std::to_string(offset));
  const ssize_t got = pread(file_, buffer.data(), buffer.size(), static_cast<off_t>(offset));
  if (got == static_cast<ssize_t>(buffer.size())) return buffer;
  return fail(Code::io, "cannot read " + path_ + " at " + std::to_string(offset) + ": " +
                            (got < 0 ? std::strerror(errno) : "short read"));
}

}  // namespace lamina
