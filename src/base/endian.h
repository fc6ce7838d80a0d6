// SPDX-License-Identifier: Apache-2.0
// Little-endian integers as byte arrays, for structs that lie on the medium: no padding, no
// alignment, the same on every machine.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace lamina {

template <class Integer>
struct LittleEndian {
  std::array<unsigned char, sizeof(Integer)> bytes;

  Integer load() const {
    Integer value = 0;
    for (size_t i = 0; i < sizeof(Integer); ++i)
      value = static_cast<Integer>(value | static_cast<Integer>(Integer{bytes[i]} << (8 * i)));
    return value;
  }
  void store(Integer value) {
    for (size_t i = 0; i < sizeof(Integer); ++i)
      bytes[i] = static_cast<unsigned char>((value >> (8 * i)) & 0xff);
  }
};

using le16 = LittleEndian<uint16_t>;
using le32 = LittleEndian<uint32_t>;
using le64 = LittleEndian<uint64_t>;

}  // namespace lamina
