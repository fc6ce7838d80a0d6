// SPDX-License-Identifier: Apache-2.0
// Integers of one to ten bytes, seven bits a byte, low ones first, the top bit of a byte saying
// that more follow. Only the shortest form is accepted, so that equal values are equal bytes.
// Thread-safety: pure functions.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace lamina {

inline constexpr size_t varint_max_bytes = 10;

constexpr size_t varint_size(uint64_t value) {
  return static_cast<size_t>(std::bit_width(value | 1) + 6) / 7;
}

inline void put_varint(std::vector<std::byte>& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<std::byte>((value & 0x7f) | 0x80));
  out.push_back(static_cast<std::byte>(value));
}

// Takes one off the front of `in`. Nothing: cut short, longer than needed, or past 64 bits; `in`
// is then as it was.
inline std::optional<uint64_t> get_varint(std::span<const std::byte>& in) {
  uint64_t value = 0;
  for (size_t i = 0; i < in.size() && i < varint_max_bytes; ++i) {
    const auto byte = std::to_integer<uint64_t>(in[i]);
    value |= (byte & 0x7f) << (7 * i);
    if ((byte & 0x80) != 0) continue;
    const bool shortest = i == 0 || byte != 0;
    const bool fits = i + 1 < varint_max_bytes || byte <= 1;
    if (!shortest || !fits) return std::nullopt;
    in = in.subspan(i + 1);
    return value;
  }
  return std::nullopt;
}

// Signed values near zero as small unsigned ones: 0, -1, 1, -2, ... become 0, 1, 2, 3, ...
constexpr uint64_t zigzag(int64_t value) {
  return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
}
constexpr int64_t unzigzag(uint64_t value) {
  return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
}

}  // namespace lamina
