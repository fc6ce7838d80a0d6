// SPDX-License-Identifier: Apache-2.0
// xxh3 checksums: of payload by content alone (32 bits), of metadata keyed with the pool's secret
// and the place (64 bits), so that what is torn, stale, misdirected or forged is detected (B7).
// Thread-safety: pure functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/units.h"

namespace lamina {

using Secret = std::array<std::byte, 16>;  // random, one a pool

// Where a piece of metadata lies; part of its checksum's key.
struct MetadataPlace {
  BlobId blob = BlobId::none;
  uint32_t segment = 0;  // index in the blob; for places outside segments 0xffffffff
  Generation generation = Generation::none;
  uint32_t block = 0;  // in the segment, or in the disk for places outside segments
};

// Of one payload block. Content alone, because the mover carries it.
uint32_t payload_checksum(std::span<const std::byte> block);

// Of anything whose place needs no proof.
uint64_t plain_checksum(std::span<const std::byte> bytes);

// Of metadata at a place.
uint64_t keyed_checksum(std::span<const std::byte> bytes, const Secret& secret,
                        const MetadataPlace& place);

}  // namespace lamina
