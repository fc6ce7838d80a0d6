// SPDX-License-Identifier: Apache-2.0
#include "engine/range_locks.h"

#include "base/check.h"

namespace lamina {

bool RangeLocks::free(BlockRange range) const {
  if (!any_.load(std::memory_order_acquire)) return true;
  Lock lock(mutex_);
  for (const Request& r : requests_)
    if (r.range.overlaps(range)) return false;
  return true;
}

Task<void> RangeLocks::acquire(BlockRange range) {
  Completion completion;
  {
    Lock lock(mutex_);
    bool clear = true;
    for (const Request& r : requests_) clear = clear && !r.range.overlaps(range);
    requests_.push_back({range, clear, clear ? nullptr : &completion});
    any_.store(true, std::memory_order_release);
    if (clear) co_return;
  }
  co_await completion;
}

void RangeLocks::release(BlockRange range) {
  Lock lock(mutex_);
  auto mine = requests_.begin();
  while (mine != requests_.end() && !(mine->granted && mine->range == range)) ++mine;
  LAMINA_CHECK(mine != requests_.end());
  requests_.erase(mine);
  any_.store(!requests_.empty(), std::memory_order_release);
  // Whoever has nobody overlapping before it goes on.
  for (auto waiting = requests_.begin(); waiting != requests_.end(); ++waiting) {
    if (waiting->granted) continue;
    bool clear = true;
    for (auto before = requests_.begin(); before != waiting && clear; ++before)
      clear = !before->range.overlaps(waiting->range);
    if (!clear) continue;
    waiting->granted = true;
    waiting->completion->signal();
  }
}

}  // namespace lamina
