// SPDX-License-Identifier: Apache-2.0
// Range locks of one device: held over I/O by what reads, changes and writes back, and by what
// replaces content. Queues of continuations, first come first served.
// Thread-safety: all methods from any thread.
#pragma once

#include <atomic>
#include <list>

#include "base/executor.h"
#include "base/mutex.h"
#include "base/task.h"
#include "base/units.h"

namespace lamina {

class RangeLocks {
 public:
  // Whether nobody holds or waits for any part of `range`: then what takes a single step under
  // the order lock needs no lock of its own.
  bool free(BlockRange range) const;
  // Waits for its turn; ends with the range held. Each acquire is matched by a release.
  Task<void> acquire(BlockRange range);
  void release(BlockRange range);

 private:
  struct Request {
    BlockRange range;
    bool granted = false;
    Completion* completion = nullptr;
  };
  mutable Mutex mutex_;
  std::list<Request> requests_ GUARDED_BY(mutex_);  // in order of arrival, holders included
  // Whether there are any: asked at every write, of devices that mostly have none. Whoever acquires
  // takes the order lock afterwards, so who asks under it later sees them.
  std::atomic<bool> any_ = false;
};

// Releases at the end of the scope.
class HeldRange {
 public:
  HeldRange(RangeLocks& locks, BlockRange range) : locks_(&locks), range_(range) {}
  HeldRange(const HeldRange&) = delete;
  HeldRange& operator=(const HeldRange&) = delete;
  ~HeldRange() { locks_->release(range_); }

 private:
  RangeLocks* locks_;
  BlockRange range_;
};

}  // namespace lamina
