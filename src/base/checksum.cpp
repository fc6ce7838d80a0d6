// SPDX-License-Identifier: Apache-2.0
#include "base/checksum.h"

#include <xxhash.h>
#if defined(__x86_64__)
#include <xxh_x86dispatch.h>  // the widest vectors that the processor has
#endif

namespace lamina {

uint32_t payload_checksum(std::span<const std::byte> block) {
  return static_cast<uint32_t>(XXH3_64bits(block.data(), block.size()));
}

uint64_t plain_checksum(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

uint64_t keyed_checksum(std::span<const std::byte> bytes, const Secret& secret,
                        const MetadataPlace& place) {
  struct {
    Secret secret;
    uint32_t blob, segment, generation, block;
  } const key{secret, raw(place.blob), place.segment, raw(place.generation), place.block};
  static_assert(sizeof key == 32, "no padding: it is hashed");
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), XXH3_64bits(&key, sizeof key));
}

}  // namespace lamina
