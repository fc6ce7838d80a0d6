// SPDX-License-Identifier: Apache-2.0
// Single blocks of a disk or file, read past every cache and without a lock, so that a pool can be
// looked at while a daemon serves it. For looking only: what is read may be changing.
// Thread-safety: one thread. Errors: not_found, access, io; invalid, past the end.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/buffer.h"
#include "base/result.h"

namespace lamina {

class BlockReader {
 public:
  static Result<BlockReader> open(const std::string& path);
  BlockReader(BlockReader&& other) noexcept;
  BlockReader& operator=(BlockReader&&) = delete;
  ~BlockReader();

  uint64_t size() const { return size_; }  // bytes
  Result<Buffer> read(uint64_t offset, size_t blocks = 1) const;

 private:
  BlockReader(std::string path, int file, uint64_t size)
      : path_(std::move(path)), file_(file), size_(size) {}
  std::string path_;
  int file_;
  uint64_t size_;
};

}  // namespace lamina
