// SPDX-License-Identifier: Apache-2.0
// Finds the checkpoints that a pool can be opened from, and reads their tables.
// Thread-safety: pure functions over what the disks hold.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/task.h"
#include "blobs/blob.h"
#include "blobs/log_mark.h"
#include "engine/tables.h"

namespace lamina {

// All valid slots that are still backed by every evidence found (A13), the newest first, each
// number once. Error not_found: there is none.
Task<Result<std::vector<Slot>>> find_slots(const Blobs& blobs, const Secret& secret);

// The copies of the log's mark that are good: of a blob that is missing, or no journal, none.
Task<std::vector<LogMark>> read_log_marks(const Blob& blob);

// Through which entry the log was durable, as the newest mark says of that epoch or a later one; 0:
// none does. What marks of older epochs say was cut by a repair, or is older than the slot's cut.
Task<Sequence> marked_durable(const Blobs& blobs, Epoch since);

// Which of the blobs are members by that slot: it decides, whatever superblocks say (A13).
Blobs members_of(const Slot& slot, const Blobs& blobs);
// Adds to the blobs of a slot's members one for each that is not there, whose data then cannot be
// read: of those that had failed before, or, by force, of any. They count as failed from now on.
void stand_in_for_missing(std::vector<SlotMember>& members, bool force, Blobs& blobs);
// Gives those that stand in what the tables know of them.
void size_missing(const Tables& tables, Blobs& blobs);
// Ok, or which member of the slot is not among the blobs (not_found; `absent`: why, by name, where
// somebody knows), which of those that are absent is none, or which is smaller than it was
// (invalid).
Result<> check_members(const Slot& slot, const Blobs& blobs,
                       const std::map<std::string, std::string>& absent);

// The slot's tables, page by page from whichever copy is good. Error corrupt: a page is bad in
// both, or the whole does not match the slot.
// `damaged`, if not null: how many pages are bad in one.
Task<Result<Tables>> read_tables(const Slot& slot, const Blobs& blobs, const Secret& secret,
                                 uint32_t* damaged = nullptr);

}  // namespace lamina
