// SPDX-License-Identifier: Apache-2.0
// Damage that takes more than what is told twice: whole segments, arrays of checksums with payload,
// records, a whole disk.
// Thread-safety: none.
#pragma once

#include <optional>
#include <random>
#include <vector>

#include "pool_machine.h"

namespace lamina::sim {

struct Harm {
  bool nodes = false;          // all slots and nodes are to go as well
  std::optional<size_t> disk;  // that is gone as a whole
  bool any = false;
};

// Does it to these copies of a pool's media. At random nothing, but what it says of nodes.
Harm do_harm(const std::vector<PoolMachine::FoundDisk>& disks, std::mt19937_64& random);

}  // namespace lamina::sim
