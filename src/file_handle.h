// SPDX-License-Identifier: Apache-2.0
// A file descriptor that is closed when its owner goes. Thread-safety: like any value.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <utility>

namespace lamina {

class FileHandle {
 public:
  FileHandle() = default;
  explicit FileHandle(int descriptor) : descriptor_(descriptor) {}
  FileHandle(FileHandle&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FileHandle& operator=(FileHandle&& other) noexcept {  // what it held goes with `other`
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~FileHandle() {
    if (descriptor_ < 0) return;
    const int error_number = errno;  // of the call whose failure closes this
    close(descriptor_);
    errno = error_number;
  }
  explicit operator bool() const { return descriptor_ >= 0; }
  int get() const { return descriptor_; }

 private:
  int descriptor_ = -1;
};

}  // namespace lamina
