// SPDX-License-Identifier: Apache-2.0
// Promotion, a policy of the mover for those who switch it on (Settings::promote): ranges of
// devices that are read again and again come from a lower tier to the one above, while that keeps
// free what its policy says. What came up counts as read there, so that it ages after what nobody
// reads (second chance), and has to be read often anew before it comes up another time. Pinned
// devices are left where they are. Thread-safety: note_read() from any thread; settle() by one at a
// time. Memory: what ReadCounts knows, and the parts of one batch.
#pragma once

#include <vector>

#include "base/task.h"
#include "engine/image.h"
#include "engine/space/move_plan.h"
#include "engine/space/moved_parts.h"
#include "engine/space/read_counts.h"

namespace lamina {

class PoolState;

class Promoter {
 public:
  explicit Promoter(PoolState& pool) : pool_(pool) {}

  // Users read so many blocks of a map there.
  void note_read(MapId map, DeviceBlock begin, Generation generation, uint64_t blocks);
  // Until what was read often is above, or there is no room for it.
  Task<Result<>> settle();

 private:
  struct Batch;
  Task<Result<MovePlan>> plan(ImagePtr image, std::vector<ReadCounts::Range>& taken);

  PoolState& pool_;
  ReadCounts counts_;
  uint64_t halved_ns_ = 0;
};

}  // namespace lamina
