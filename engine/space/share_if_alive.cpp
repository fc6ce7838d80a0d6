// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "engine/space/space.h"

namespace lamina {

bool Space::share_if_alive(Generation generation, Sequence at) {
  Lock lock(mutex_);
  Segment* segment = row(generation);
  if (!segment || segment->use == SegmentUse::retired || segment->dead_in != 0) return false;
  segment->shared = std::max(segment->shared, at);
  return true;
}

}  // namespace lamina
