// SPDX-License-Identifier: Apache-2.0
// The part of a check that looks at one blob alone: superblock copies, checkpoint slots, segment
// headers and summaries. Thread-safety: on the thread of a UringLoop.
#pragma once

#include <optional>
#include <vector>

#include "base/task.h"
#include "blobs/journal_blob.h"
#include "blobs/slot.h"
#include "tools/check.h"

namespace lamina {

Task<void> check_superblocks(JournalBlob& blob, CheckReport& report);

// The newest checkpoint that the blob has a good slot of; none: it has none, and that is reported.
Task<std::optional<Slot>> check_slots(JournalBlob& blob, CheckReport& report);

// `newest` as all blobs together say.
Task<void> check_segments(JournalBlob& blob, const Slot& newest, const CheckOptions& options,
                          CheckReport& report);

}  // namespace lamina
