// SPDX-License-Identifier: Apache-2.0
// One run of the simulator: a store lives, works, is crashed, comes back and is looked at, again
// and again, all of it decided by one seed.
// Thread-safety: none; one run at a time in a process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "oracle.h"
#include "report.h"
#include "store.h"
#include "workload.h"

namespace lamina::sim {

struct LifeOptions {
  unsigned lives = 20;          // times that it is opened and worked with
  WorkloadOptions workload;     // weights empty: a new mixture every life
  uint64_t flush_after_ns = 0;  // of the store
  uint64_t afresh_blocks = 0;   // written at the end, after everything was removed
  bool members = true;          // blobs are added, evacuated and removed now and then
  bool tiers = false;           // and often, and data ages, in random work
  bool count_space = false;     // against what the pool says after a walk
  bool disks_fail = false;      // after arm_crash(), which may not crash at all
  bool damaged = false;         // what is on the disks goes bad: checks may say so
  bool may_break = false;       // so badly that operations fail, and the pool turns read-only
};

struct LifeStatistics {
  uint64_t crashes = 0, crashes_while_opening = 0, clean_closes = 0, operations = 0;
  uint64_t full_answers = 0;
  uint64_t survived_failures = 0, healed = 0, rebuilt_nodes = 0;
  uint64_t aged_bytes = 0, promoted_bytes = 0, evacuated_bytes = 0, removed_blobs = 0;
  uint64_t zeroes_dropped = 0;
  std::vector<uint64_t> operations_before_crash;
};

// What else is looked at after each recovery, given all that was found. Set by those who know the
// medium. False: the crash came meanwhile.
using AfterRecovery = std::function<bool(const std::vector<Oracle::Found>& found, Report& report)>;

LifeStatistics live(Machine& machine, uint64_t seed, const LifeOptions& options,
                    const AfterRecovery& after_recovery, Report& report);

}  // namespace lamina::sim
