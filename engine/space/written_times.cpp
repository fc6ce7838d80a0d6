// SPDX-License-Identifier: Apache-2.0
#include "engine/space/written_times.h"

#include <algorithm>

namespace lamina {
namespace {

constexpr size_t most_kept = 256;

}  // namespace

void WrittenTimes::note(Sequence cut, uint64_t wall_ns) {
  Lock lock(mutex_);
  if (!times_.empty()) {
    if (cut <= times_.back().first) return;
    wall_ns = std::max(wall_ns, times_.back().second);  // a clock that was set back
  }
  times_.emplace_back(cut, wall_ns);
  if (times_.size() <= most_kept) return;
  // Every other one of the older half goes.
  size_t kept = 0;
  for (size_t i = 0; i < times_.size(); ++i)
    if (i >= most_kept / 2 || i % 2 == 1) times_[kept++] = times_[i];
  times_.resize(kept);
}

Sequence WrittenTimes::by(uint64_t wall_ns) const {
  Lock lock(mutex_);
  const auto later = std::upper_bound(times_.begin(), times_.end(), wall_ns,
                                      [](uint64_t t, const auto& time) { return t < time.second; });
  return later == times_.begin() ? 0 : std::prev(later)->first;
}

}  // namespace lamina
