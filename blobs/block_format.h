// SPDX-License-Identifier: Apache-2.0
// What every block of metadata in blobs/ has in common: one block, a magic of eight letters first,
// a format version after it, and in the last eight bytes the checksum of all that goes before. That
// much is promised to stay in every later version. See FORMAT.md.
// Thread-safety: pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "base/buffer.h"
#include "base/check.h"
#include "base/checksum.h"
#include "base/endian.h"
#include "base/units.h"

namespace lamina {

using Magic = std::array<char, 8>;
inline constexpr uint32_t format_version = 1;
inline constexpr size_t block_checksum_offset = block_size - 8;

// MetadataPlace::segment of what lies in no segment.
inline constexpr uint32_t outside_segments = 0xffffffff;

// Of what lies in no segment: `disk_block` is its block on the disk, modulo 2^32.
constexpr MetadataPlace place_outside(BlobId blob, uint32_t disk_block) {
  return {blob, outside_segments, Generation::none, disk_block};
}

// Beside each struct: exactly one block, nothing between its fields.
template <class Format>
inline constexpr bool is_block_format =
    sizeof(Format) == block_size&& std::has_unique_object_representations_v<
                          Format>&& std::is_trivially_copyable_v<Format>;

template <class Format>
Format load_block(std::span<const std::byte> block) {
  static_assert(is_block_format<Format>);
  LAMINA_CHECK(block.size() == block_size);
  Format format;
  std::memcpy(&format, block.data(), block_size);
  return format;
}

template <class Format>
void store_block(const Format& format, std::span<std::byte> block) {
  static_assert(is_block_format<Format>);
  LAMINA_CHECK(block.size() == block_size);
  std::memcpy(block.data(), &format, block_size);
}

inline uint64_t stored_block_checksum(std::span<const std::byte> block) {
  le64 sum;
  std::memcpy(&sum, block.data() + block_checksum_offset, sizeof sum);
  return sum.load();
}

inline void store_block_checksum(std::span<std::byte> block, uint64_t checksum) {
  le64 sum;
  sum.store(checksum);
  std::memcpy(block.data() + block_checksum_offset, &sum, sizeof sum);
}

inline uint64_t plain_block_checksum(std::span<const std::byte> block) {
  return plain_checksum(block.first(block_checksum_offset));
}
inline uint64_t keyed_block_checksum(std::span<const std::byte> block, const Secret& secret,
                                     const MetadataPlace& place) {
  return keyed_checksum(block.first(block_checksum_offset), secret, place);
}

inline bool has_magic(std::span<const std::byte> block, const Magic& magic) {
  return block.size() == block_size && std::memcmp(block.data(), magic.data(), magic.size()) == 0;
}

template <size_t N>
bool all_zero(const std::array<unsigned char, N>& reserved) {
  return all_zero(std::as_bytes(std::span(reserved)));
}

}  // namespace lamina
