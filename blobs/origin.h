// SPDX-License-Identifier: Apache-2.0
// External origins (C7): images outside the pool that alias extents refer to, like to any other
// place. An origin is an address range of its own: its name in addresses is a generation that no
// segment ever gets, so that whoever looks for a segment of that name finds none, and block b of
// the image is block b of the address.
// Thread-safety: plain values, pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/units.h"
#include "blobs/entry.h"

namespace lamina {

// Generations from here on name origins; below it, segments.
inline constexpr uint32_t first_origin_generation = 0xf0000000;
constexpr bool is_origin(Generation generation) {
  return raw(generation) >= first_origin_generation;
}
constexpr bool is_origin(Address address) {
  return is_origin(address.generation);
}

// What is recorded of an image, so that a change of it is noticed.
struct ImageFacts {
  uint64_t size_bytes = 0;
  uint64_t mtime_ns = 0, inode = 0;  // of regular files; 0: a block device, which has no such
  uint64_t sample = 0;               // a checksum of blocks spread evenly over it
  friend bool operator==(const ImageFacts&, const ImageFacts&) = default;
};

struct Origin {
  Generation generation = Generation::none;
  std::string path;  // absolute
  // What devices see of it; the image may have become longer since, and behind this are zeroes.
  uint64_t size_bytes = 0;
  ImageFacts image;
  friend bool operator==(const Origin&, const Origin&) = default;
};

inline constexpr size_t origin_path_limit = 900;  // bytes; fits an entry's value
// So many blocks have an address.
inline constexpr uint64_t origin_size_limit = uint64_t{UINT32_MAX} * block_size;

// The entry that makes it known, or states it anew.
Entry origin_entry(const Origin& origin);
// Error corrupt: the value does not decode, or is out of range.
Result<Origin> unpack_origin(const Entry& entry);

}  // namespace lamina
