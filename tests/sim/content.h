// SPDX-License-Identifier: Apache-2.0
// What one block of a device holds, as the simulator knows it: zeroes, a pattern that names
// {device, block, version} in every word, or bytes that several partial writes made.
// A block that is old, torn, from elsewhere or of another device never equals the right one.
// Thread-safety: plain values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/units.h"

namespace lamina::sim {

class Content {
 public:
  Content() = default;  // zeroes
  static Content tagged(uint64_t device, uint64_t block, uint64_t version);

  // This block with `patch` laid over it at byte `from`.
  Content with(size_t from, std::span<const std::byte> patch) const;
  // This block with zeroes in bytes [from, to).
  Content zeroed(size_t from, size_t to) const;

  void fill(std::span<std::byte> block) const;
  // Whether the first block.size() bytes are these.
  bool matches(std::span<const std::byte> block) const;
  bool zero() const { return kind_ == Kind::zero; }
  std::string describe() const;

 private:
  using Bytes = std::array<std::byte, block_size>;
  enum class Kind : uint8_t { zero, tagged, bytes };
  Kind kind_ = Kind::zero;
  uint64_t device_ = 0, block_ = 0, version_ = 0;
  std::shared_ptr<const Bytes> bytes_;  // shared by the versions that have not changed it
};

// Whether `bytes` begins with all of `with`. By whole words: g++ 12 compares std::byte one by one.
bool begins_with(std::span<const std::byte> bytes, std::span<const std::byte> with);

// What a block read from somewhere looks like, for messages.
std::string describe_block(std::span<const std::byte> block);

}  // namespace lamina::sim
