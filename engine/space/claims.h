// SPDX-License-Identifier: Apache-2.0
// Who may take the last free segments of a tier, in order of entitlement (D5): checkpoint > mover >
// log of erases > users; in the tiers below the first, which hold no log: mover > what ages into
// them. A class never draws from one above. And what that leaves to users.
// Thread-safety: pure functions, plain values. Units: segments, unless the name says otherwise.
#pragma once

#include <cstdint>

namespace lamina {

// `user` is also whoever brings data into a tier below the first.
enum class Claim : uint8_t { checkpoint, mover, log, user };

struct TierSize {
  bool first = false;  // it has the log and the nodes
  uint64_t segments = 0;
  uint32_t segment_blocks = 0;  // of the smallest
  uint64_t data_blocks = 0;     // of payload, if all segments were full of it
};

// What of the free segments is kept for those with a better claim. `node_bytes`: of all maps, what
// a checkpoint may have to write.
uint64_t set_aside_above(Claim claim, const TierSize& tier, uint64_t node_bytes);

// Of the mover's share. A batch may gain nothing, where leaves were made meanwhile or have no room
// for what it moved; and one that may fill no segment cannot begin. So the last ones are for
// batches that fill one, and only while users wait: then nothing else goes on that could spoil
// them.
inline constexpr uint64_t kept_for_last_batches = 2;
// How many segments a batch of cleaning may fill of those that are available to the mover.
uint64_t most_targets(uint64_t available, bool users_wait);

// What users can ever store in it, blocks: the reserve is not in it (D5). `kept_back_percent`: of
// what data can lie in, at least that.
uint64_t capacity_blocks(const TierSize& tier, double kept_back_percent);

// Space is short in it while users may take fewer segments than this: walks are made for less, and
// cleaning begins. Not earlier, since what is to be emptied is emptier later.
uint64_t low_mark(const TierSize& tier, uint64_t live_blocks);

// Of what data can lie in: fuller than this and cleaning copies five times what it gains.
inline constexpr double least_kept_back_percent = 7;

}  // namespace lamina
