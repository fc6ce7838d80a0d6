// SPDX-License-Identifier: Apache-2.0
// The payload of an entry that forks several devices at one point: their forks, packed, twice.
// Other entries are repeated by the next record; these are too many for that, so they repeat
// themselves, and no one damaged block loses a device (B1). Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "blobs/entry.h"

namespace lamina {

struct ForkList {
  std::string payload;      // both copies, each padded to whole blocks
  uint64_t size_bytes = 0;  // of one
};
// The forks have no numbers: each gets that of the entry which names the list.
ForkList pack_fork_list(std::span<const Entry> forks);

// `bytes` begins with a copy of the list of that entry. Error corrupt.
Result<std::vector<Entry>> unpack_fork_list(const Entry& entry, std::span<const std::byte> bytes);

// Blocks of the payload that hold the first copy; as many behind them hold the second.
uint32_t fork_list_blocks(const Entry& entry);

// Makes the first copy whole: of each block the second copy where only that one matches its
// checksum. Error corrupt: neither does.
Result<> mend_fork_list(const Entry& entry, std::span<std::byte> payload,
                        std::span<const uint32_t> checksums);

}  // namespace lamina
