// SPDX-License-Identifier: Apache-2.0
// A pool whose checkpoints or maps are gone, made whole again in place from what its segments say
// of themselves: headers, summaries, records, and the tables that checkpoints left (C5). No slot and
// no node is needed. What there is of them is asked where segments are gone: slots and marks for
// cuts, for how far the log went and what it alone knew, trees for what those segments stated.
//
// What must be durable before what: everything that was found stays as it is, and what is made,
// seals of the log's open segments, what is stated anew, nodes and tables, goes into places of
// segments that nothing has been written to, and into segments that are free by their own headers:
// never used, or stamped. One slot makes all of it true at once. So a repair that is cut off has
// changed nothing, and may be begun again; what it left is overtaken by newer numbers.
// Thread-safety: one coroutine; nobody else has the disks.
// Memory: all extents of all maps, some 40 bytes each.
// Errors: io of a disk; not_found, no tables of a checkpoint are left; no_space, no segment is free
// for the new metadata. Nothing has changed then.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/task.h"
#include "blobs/blob.h"
#include "engine/pool.h"
#include "engine/settings.h"
#include "engine/space/space.h"

namespace lamina {

struct RepairReport {
  uint64_t segments = 0, devices = 0, extents = 0;
  uint64_t damaged_summaries = 0;  // what they said was found in another place
  // Segments whose contents nobody can tell any more, and entries of the log likewise: what is
  // older than they may be is suspect (B2).
  std::vector<SegmentName> untold;
  uint64_t missing_entries = 0;
  bool end_in_doubt = false;       // what is destroyed may be of the log behind its end
  std::vector<LostRange> suspect;  // nothing where it was accepted
  Sequence last = 0;               // the newest entry that counts
  CheckpointNumber checkpoint = 0;  // the new one
};

// `blobs`: all members, as their superblocks were, which are not written; what stands in for a
// missing one (engine/missing_disk.h) is passed over, and its blob counts as failed from then on.
// What is older than something that nobody can tell any more is suspect in the maps that are made,
// EIO until it is written or accepted (Pool::accept_suspect); `accept_suspect`: it is taken for the
// newest.
Task<Result<RepairReport>> repair(Blobs blobs, Settings settings, bool accept_suspect);

}  // namespace lamina
