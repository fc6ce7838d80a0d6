// SPDX-License-Identifier: Apache-2.0
// Memory that can be handed to O_DIRECT: aligned to a block by construction, move-only. Large ones
// lie in huge pages where the kernel has them, so that I/O need not look up a page per block.
// Ownership: frees what it holds. Thread-safety: like any value.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>

#include "base/units.h"

namespace lamina {

class Buffer {
 public:
  Buffer() = default;
  // Rounds `bytes` up to whole blocks; contents are undefined (pages are touched on first use).
  explicit Buffer(size_t bytes)
      : bytes_(round_up(bytes, block_size)),
        data_(static_cast<std::byte*>(::operator new(bytes_, alignment(bytes_))),
              Free(alignment(bytes_))) {
    if (bytes_ >= huge_page) (void)madvise(data_.get(), bytes_, MADV_HUGEPAGE);  // a hint
  }

  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  size_t size() const { return bytes_; }
  std::span<std::byte> span() { return {data(), size()}; }
  std::span<const std::byte> span() const { return {data(), size()}; }
  std::span<std::byte> blocks(size_t first, size_t count) {
    return span().subspan(first * block_size, count * block_size);
  }
  std::span<const std::byte> blocks(size_t first, size_t count) const {
    return span().subspan(first * block_size, count * block_size);
  }
  void zero() { std::memset(data(), 0, size()); }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  static constexpr size_t huge_page = 2 * mib;
  static std::align_val_t alignment(size_t bytes) {
    return std::align_val_t{bytes >= huge_page ? huge_page : block_size};
  }
  struct Free {
    Free() noexcept : alignment(std::align_val_t{block_size}) {}
    explicit Free(std::align_val_t of) noexcept : alignment(of) {}
    std::align_val_t alignment;
    void operator()(std::byte* p) const { ::operator delete(p, alignment); }
  };
  size_t bytes_ = 0;
  std::unique_ptr<std::byte, Free> data_;
};

// Whether every byte is zero. Any alignment and length.
inline bool all_zero(std::span<const std::byte> bytes) {
  if (bytes.empty()) return true;
  if (bytes[0] != std::byte{0}) return false;
  return std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

}  // namespace lamina
