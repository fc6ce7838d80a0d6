// SPDX-License-Identifier: Apache-2.0
// A simulated disk: opens a SimMedium on a SimExecutor, as FileDisk opens a path, and can be told
// to fail: errors at the n-th call, flushes that lie, lost and misdirected writes.
// Thread-safety, durability: as SimMedium says. A medium is opened once at a time; whoever had it
//   before has crashed, and power_cut() or process_killed() was called since, if anything was
//   under way.
#pragma once

#include <cstdint>
#include <memory>

#include "blobs/disk.h"
#include "blobs/sim_executor.h"
#include "blobs/sim_medium.h"

namespace lamina {

std::unique_ptr<Disk> open_sim_disk(SimMedium& medium, SimExecutor& executor);

// Faults, checked at each operation; 0 = never.
struct SimFaults {
  // The n-th call from now: EIO. A write that fails leaves its range old, new or mixed.
  uint64_t fail_write_at = 0, fail_read_at = 0, fail_flush_at = 0;
  uint64_t fail_write_every = 0, fail_flush_every = 0;  // so many calls
  bool dead = false;                                    // everything fails from now on
  bool fail_discards = false;                           // discards, and prepares with ENOSPC
  bool lie_about_flushes = false;                       // they succeed and make nothing durable
  double fail_write = 0, fail_flush = 0;                // probabilities, of each call
  double lose_write = 0, misdirect_write = 0;           // likewise; the write seems to succeed
  double fail_read = 0;
};
void set_faults(Disk& sim_disk, const SimFaults& faults);

}  // namespace lamina
