// SPDX-License-Identifier: Apache-2.0
#include "engine/space/claims.h"

#include <algorithm>

#include "base/units.h"
#include "blobs/record.h"
#include "engine/mutation.h"

namespace lamina {
namespace {

constexpr uint64_t log_set_aside = 3;       // erases, removes, renames: they must always work (D5)
constexpr uint64_t checkpoint_minimum = 4;  // two copies, each may cross a segment's end
// A recovery names a chain before what the crash left is free; and each crash in a row, while it
// opens and before a checkpoint, leaves one segment of it.
constexpr uint64_t recovery_set_aside = chain_length;
// As many as it takes to gain one more where everything is as full as that: with fewer the mover
// could not begin any more, and users would get ENOSPC for what they own.
constexpr auto mover_set_aside =
    static_cast<uint64_t>((100 - least_kept_back_percent) / least_kept_back_percent) + 1 +
    kept_for_last_batches;
static_assert(mover_set_aside == 16);
// Segments that never hold users' data at rest: what the log is in and has named, two of nodes that
// are filled and two that are, and what is set aside above users where the maps are small.
constexpr uint64_t never_users = (1 + chain_length) + 4 + recovery_set_aside + log_set_aside +
                                 mover_set_aside + checkpoint_minimum;
static_assert(never_users >= 12);
// Of a tier without log and nodes: what is set aside, one that is being filled, and one for the
// second copies of nodes.
constexpr uint64_t never_users_below = mover_set_aside + 2;
// What is kept free is missing where data lies. Where g of the segments' room is not live,
// uniformly random overwriting writes each block 1 / 2g times in all, so x less costs x / 2gg: this
// much is kept free for a tenth of a write, and no more than an eighth of the pool. With less,
// checkpoints follow each other so fast that they take the processor from users.
constexpr double free_for_a_tenth = 0.2;
constexpr double most_free = 0.125;
constexpr uint64_t low_least = 4;  // segments, which a checkpoint comes with at the latest

}  // namespace

uint64_t set_aside_above(Claim claim, const TierSize& tier, uint64_t node_bytes) {
  if (!tier.first) return claim == Claim::mover ? 0 : mover_set_aside;
  const uint64_t segment_bytes = uint64_t{tier.segment_blocks} * block_size;
  const uint64_t checkpoint =
      recovery_set_aside +
      std::min(std::max(checkpoint_minimum, 4 * div_up(node_bytes, segment_bytes)),
               std::max(checkpoint_minimum, tier.segments / 4));
  switch (claim) {
    case Claim::checkpoint:
      return 0;
    case Claim::mover:
      return checkpoint;
    case Claim::log:
      return checkpoint + mover_set_aside;
    case Claim::user:
      if (mutated(Mutation::nothing_set_aside)) return 0;
      return checkpoint + mover_set_aside + log_set_aside;
  }
  return 0;
}

uint64_t most_targets(uint64_t available, bool users_wait) {
  if (available > kept_for_last_batches) return available - kept_for_last_batches;
  return users_wait ? std::min<uint64_t>(available, 1) : 0;
}

uint64_t capacity_blocks(const TierSize& tier, double kept_back_percent) {
  const uint64_t never =
      (tier.first ? never_users : never_users_below) * uint64_t{tier.segment_blocks};
  if (tier.data_blocks <= never) return 0;
  const double part = (100 - std::max(least_kept_back_percent, kept_back_percent)) / 100;
  return static_cast<uint64_t>(static_cast<double>(tier.data_blocks - never) * part);
}

uint64_t low_mark(const TierSize& tier, uint64_t live_blocks) {
  if (tier.segments == 0) return low_least;  // of nothing no part is live
  const auto total = static_cast<double>(tier.segments);
  const double not_live =
      std::clamp(1 - static_cast<double>(live_blocks) / (total * tier.segment_blocks), 0.0, 1.0);
  const double part = std::min(free_for_a_tenth * not_live * not_live, most_free);
  return std::max(low_least, static_cast<uint64_t>(total * part));
}

}  // namespace lamina
