// SPDX-License-Identifier: Apache-2.0
// C4's pass over all summaries: a zero that hides nothing any more becomes a hole, so that the maps
// are smaller and the mover has less to carry.
//
// A zero is in the maps, and has a home, so that whoever has only what segments say of themselves
// does not take for the device's what was there before. Once no segment without a stamp has
// anything older of its place that its map can see, nothing ever will: entries with old numbers are
// never made, only carried from one segment to another. Then a hole says the same.
//
// What must hold:
//   - what counts as being on the medium is what a rebuild would believe, by the rebuild's own scan
//     (visit_segments): of every place of every blob, also of those that are free by the tables,
//     because a copy that a crash cut short may lie there without a header. What a lost stamp would
//     bring back counts too;
//   - nothing is moved, and no segment stamped, from before the first segment is looked at until
//     the last one has been (Reclaimer::alone): so no entry can go from what is still to be read to
//     what has been read. What users write meanwhile has newer numbers, aliases and lost ranges as
//     well. What the mover carries afterwards comes from segments that have been read;
//   - where anything cannot be read, or a segment that is in use does not tell all of its entries,
//     nothing goes; nor where a disk is missing, which may have what nobody can look at;
//   - the zero's home is settled before the cut of the image that it was found in. So the home
//     states nothing of that place later, and an extent that still has it when the checkpoint
//     changes the leaf is the one that was found; else it stays what it is. What hides it in a
//     layer goes over a hole as it would over the zero.
// Older zeroes do not count: a hole reads like them, and what they hide counts itself. For whoever
// has the zero by a fork the same entries are older: those of his own maps are younger than it.
//
// What must be durable before what: stamps, before their segments are discarded, which they are
// when this begins; all that was read, before the slot of the checkpoint that makes the holes,
// since it flushes every disk before (A11). It is no logged write: a fall-back to K_old finds the
// zero again, and its own entry, as long as it lies anywhere, says what the hole says. What K_old
// or an image that is held refers to has no stamp, so it keeps the zeroes over it. If the epoch
// ends, the holes are given up with it (A19).
//
// Reserved zeroes stay, since they are what the device has reserved (D8); lost ranges stay too.
// Thread-safety: one coroutine. Memory: some 100 bytes for each zero, and the extents of the
// segments that state them, 2^18 at the most and those of one segment; the rest is for the next
// turn. While it reads, no space comes back, so it is given up where users wait for some.
#pragma once

#include <functional>

#include "base/result.h"
#include "base/task.h"
#include "base/units.h"

namespace lamina {

class PoolState;

struct DroppedZeroes {
  uint64_t extents = 0;
  Generation next{1};  // where the next turn begins
};
// Those whose homes are of generation `from` or later, as many as fit; the holes are made durable.
// Errors: busy, it was given up, or `go_on` says so; io, corrupt, not everything could be read: all
// zeroes stay.
Task<Result<DroppedZeroes>> drop_zeroes(PoolState& pool, Generation from,
                                        std::function<Result<>()> go_on);

}  // namespace lamina
