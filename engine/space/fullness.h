// SPDX-License-Identifier: Apache-2.0
// How full the pool is, in steps that people are told of while there is still time to do something:
// of what users can store, 80, 90, 95 and 100 percent. A step is left again only well below where
// it began, so that a pool that goes to and fro around one is not told of over and over.
// Thread-safety: all methods from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/mutex.h"

namespace lamina {

struct Fullness {
  uint32_t percent = 0;  // the step that was reached; 0: none
  uint64_t size = 0;     // what users can ever store, bytes
  uint64_t free = 0;     // what can still be written, bytes
};

class FullnessWatch {
 public:
  static constexpr std::array<uint32_t, 4> steps{80, 90, 95, 100};
  static constexpr uint32_t left_below = 2;  // percent, of the pool, below where the step began

  struct Change {
    Fullness now;
    bool rose = false;
  };
  // What is in use has become known; bytes. `refused`: somebody was told that there is no space,
  // which makes a nearly full pool a full one. The result: another step was reached, up or down.
  std::optional<Change> look(uint64_t used, uint64_t size, bool refused);
  uint32_t percent() const;
  // Whether so much would be past a step that has not been reached.
  bool would_rise(uint64_t used, uint64_t size) const;

 private:
  static uint32_t step_of(uint64_t used, uint64_t size);
  mutable Mutex mutex_;
  uint32_t percent_ GUARDED_BY(mutex_) = 0;
};

}  // namespace lamina
