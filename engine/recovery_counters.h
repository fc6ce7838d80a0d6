// SPDX-License-Identifier: Apache-2.0
// Which ways recovery has gone since the process began: the simulator prints them, so that a
// branch that no crash ever reached is seen.
// Thread-safety: all of it, from any thread. Units: times taken.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lamina {

enum class RecoveryBranch : uint8_t {
  clean_open,               // the slot says that nothing follows
  empty_log,                // not clean, but no record follows the cut either
  torn_tail,                // no valid record where the next one belongs: the log ends here
  payload_rejected,         // past durable-through, a payload block does not match (A2)
  cut_record_followed,      // the log goes on behind a cut, in a newer epoch (A3)
  next_segment_followed,    // into the first segment that the chain names
  second_segment_followed,  // into the second, because a recovery began its epoch there
  stale_record_refused,     // right place, but an epoch or number that cannot follow
  lost_below_durable,       // corruption, not a tear: salvaged from what the next record repeats
  gap_bridged,              // several in a row, told by the summary of their sealed segment
  fell_back_to_older_slot,  // the newest slot or its tables cannot be read
  slot_copy_damaged,        // one of the two copies
  tables_copy_damaged,      // one of the two copies
  dropped_unlinked,         // a device that was removed while open goes at recovery (C6)
  orphan_retired,           // a segment that only the dead epoch knew of
  moved_adopted,            // one of the mover, of a lost checkpoint, that was shared from since
};
inline constexpr size_t recovery_branch_count = 16;

inline constexpr std::array<std::string_view, recovery_branch_count> recovery_branch_names{
    "clean_open",
    "empty_log",
    "torn_tail",
    "payload_rejected",
    "cut_record_followed",
    "next_segment_followed",
    "second_segment_followed",
    "stale_record_refused",
    "lost_below_durable",
    "gap_bridged",
    "fell_back_to_older_slot",
    "slot_copy_damaged",
    "tables_copy_damaged",
    "dropped_unlinked",
    "orphan_retired",
    "moved_adopted"};
static_assert(static_cast<size_t>(RecoveryBranch::moved_adopted) + 1 == recovery_branch_count);

inline std::array<std::atomic<uint64_t>, recovery_branch_count> recovery_branches_taken{};

inline void count(RecoveryBranch branch) {
  recovery_branches_taken[static_cast<size_t>(branch)].fetch_add(1, std::memory_order_relaxed);
}

}  // namespace lamina
