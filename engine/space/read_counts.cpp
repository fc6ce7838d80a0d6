// SPDX-License-Identifier: Apache-2.0
#include "engine/space/read_counts.h"

#include <algorithm>

namespace lamina {
namespace {

constexpr uint32_t most_counted = UINT32_MAX / 2;

}  // namespace

void ReadCounts::note(MapId map, DeviceBlock begin, uint64_t blocks) {
  const uint64_t end = begin.value + blocks;
  Lock lock(mutex_);
  for (uint64_t at = begin.value; at < end;) {
    const uint64_t range = at / range_blocks * range_blocks;
    const uint64_t until = std::min(end, range + range_blocks);
    const auto found = read_.find({map, DeviceBlock{range}});
    if (found == read_.end() && read_.size() >= most_ranges_) halve();
    if (found != read_.end())
      found->second = std::min(most_counted, found->second + static_cast<uint32_t>(until - at));
    else if (read_.size() < most_ranges_)
      read_.emplace(Range{map, DeviceBlock{range}}, static_cast<uint32_t>(until - at));
    at = until;
  }
}

std::vector<ReadCounts::Range> ReadCounts::often() const {
  std::vector<Range> ranges;
  {
    Lock lock(mutex_);
    for (const auto& [range, blocks] : read_)
      if (blocks > often_times * range_blocks) ranges.push_back(range);
  }
  std::sort(ranges.begin(), ranges.end());
  return ranges;
}

void ReadCounts::forget(const Range& range) {
  Lock lock(mutex_);
  read_.erase(range);
}

void ReadCounts::forget_half() {
  Lock lock(mutex_);
  halve();
}

void ReadCounts::halve() {
  for (auto& [range, blocks] : read_) blocks /= 2;
  std::erase_if(read_, [](const auto& entry) { return entry.second == 0; });
}

}  // namespace lamina
