// SPDX-License-Identifier: Apache-2.0
// When entries were written, roughly: pairs of a cut and the time at which everything up to it had
// been written. Older ones are kept more coarsely, so that it stays small; what is said to be so
// old is at least so old.
// Thread-safety: all methods from any thread. Times are nanoseconds since 1970.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/units.h"

namespace lamina {

class WrittenTimes {
 public:
  void note(Sequence cut, uint64_t wall_ns);
  // The newest entry of which it is known that it was written by then; 0: of none.
  Sequence by(uint64_t wall_ns) const;

 private:
  mutable Mutex mutex_;
  std::vector<std::pair<Sequence, uint64_t>> times_ GUARDED_BY(mutex_);  // both ascend
};

}  // namespace lamina
