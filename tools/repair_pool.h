// SPDX-License-Identifier: Apache-2.0
// lamina repair: what is damaged is made whole from what is left, in place, or in a copy.
//
// A pool whose checkpoints or maps cannot be read is rebuilt from its segments
// (engine/repair/repair.h), superblocks first found and at last written. One that opens is not, since
// its maps say more: what is damaged of its metadata is written anew from what else tells of it, as
// when it is mounted (engine/heal/healer.h), and so are superblocks. Each step changes nothing until all that it needs is there, so that a
// repair which is cut off can be begun again.
// Thread-safety: on the thread of a UringLoop; progress is called there.
// A disk that has nothing of the pool any more is stood in for as a mount does, if a slot on
// another names it; what lay there is lost. Errors, with path and what to do: those of opening a
// disk; not_found, nothing of a pool is on it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "config/pool_config.h"
#include "engine/repair/repair.h"
#include "tools/check.h"

namespace lamina {

struct RepairOptions {
  bool rebuild = false;         // even where nothing is found to be damaged
  bool accept_suspect = false;  // what may not be the newest is believed as it was found
  bool data = false;            // verify all data afterwards
  std::function<void(const std::string& doing, uint64_t done, uint64_t all)> progress =
      [](const std::string&, uint64_t, uint64_t) {};
};

struct RepairedPool {
  std::string pool;
  std::vector<std::string> superblocks;  // of which disks they were written again
  std::vector<std::string> missing;      // blobs of whose disks nothing is left
  uint64_t healed = 0;  // blocks of metadata, where it was not rebuilt
  bool rebuilt = false;
  RepairReport rebuild;
  CheckReport before, after;
};

Task<Result<RepairedPool>> repair_pool(PoolConfig config, RepairOptions options);

}  // namespace lamina
