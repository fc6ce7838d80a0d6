// SPDX-License-Identifier: Apache-2.0
#include "engine/space/fullness.h"

namespace lamina {
namespace {

// Without multiplying bytes, which a large pool has too many of.
bool reaches(uint64_t used, uint64_t size, uint32_t percent) {
  return used >= size / 100 * percent + size % 100 * percent / 100;
}

}  // namespace

uint32_t FullnessWatch::step_of(uint64_t used, uint64_t size) {
  uint32_t reached = 0;
  for (const uint32_t step : steps)
    if (reaches(used, size, step)) reached = step;
  return reached;
}

std::optional<FullnessWatch::Change> FullnessWatch::look(uint64_t used, uint64_t size,
                                                         bool refused) {
  uint32_t reached = step_of(used, size);
  if (refused && reaches(used, size, steps.back() - left_below)) reached = steps.back();
  Change change;
  {
    Lock lock(mutex_);
    // Down: only as far as it has left the steps on the way.
    if (reached < percent_) {
      uint32_t stays = 0;
      for (const uint32_t step : steps)
        if (step <= percent_ && reaches(used, size, step - left_below)) stays = step;
      reached = stays;
    }
    if (reached == percent_) return std::nullopt;
    change.rose = reached > percent_;
    percent_ = reached;
  }
  change.now = {reached, size, size > used ? size - used : 0};
  return change;
}

uint32_t FullnessWatch::percent() const {
  Lock lock(mutex_);
  return percent_;
}

bool FullnessWatch::would_rise(uint64_t used, uint64_t size) const {
  return step_of(used, size) > percent();
}

}  // namespace lamina
