// SPDX-License-Identifier: Apache-2.0
// Numbers of 0 to 64 bits at any bit of a block, least significant bit first: what packed nodes
// are made of. Whatever the arguments, nothing outside the block is touched: bits past its end
// read as zero.
// Thread-safety: pure functions.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/units.h"

namespace lamina {

static_assert(std::endian::native == std::endian::little, "unaligned loads are taken as they are");

inline constexpr size_t block_bits = size_t{block_size} * 8;

constexpr uint64_t low_mask(unsigned width) {
  return width >= 64 ? ~uint64_t{0} : (uint64_t{1} << width) - 1;
}

// How many bits it takes to write `value`.
constexpr unsigned bits_for(uint64_t value) {
  return static_cast<unsigned>(std::bit_width(value));
}

namespace detail {
// The last eight bytes of the block serve everything that begins in them.
inline size_t load_byte(size_t bit) {
  const size_t byte = bit / 8;
  return byte < block_size - 8 ? byte : block_size - 8;
}
}  // namespace detail

// At most 56 bits.
inline uint64_t read_short(const std::byte* block, size_t bit, unsigned width) {
  if (bit >= block_bits) return 0;
  const size_t byte = detail::load_byte(bit);
  uint64_t word;
  std::memcpy(&word, block + byte, 8);
  return word >> (bit - byte * 8) & low_mask(width);
}

inline uint64_t read_bits(const std::byte* block, size_t bit, unsigned width) {
  if (width <= 56) return read_short(block, bit, width);
  const uint64_t low = read_short(block, bit, 32);
  return low | read_short(block, bit + 32, width - 32) << 32;
}

// Into bits that are zero so far; asserts nothing: the caller has planned its room.
inline void write_bits(std::byte* block, size_t bit, unsigned width, uint64_t value) {
  while (width > 0) {
    const unsigned part = width < 32 ? width : 32;
    const size_t byte = detail::load_byte(bit);
    uint64_t word;
    std::memcpy(&word, block + byte, 8);
    word |= (value & low_mask(part)) << (bit - byte * 8);
    std::memcpy(block + byte, &word, 8);
    bit += part;
    width -= part;
    value = part == 32 ? value >> 32 : 0;
  }
}

}  // namespace lamina
