// SPDX-License-Identifier: Apache-2.0
// What of the lower tiers is read again and again: how many blocks users have read of each range of
// a map. Counts go by where data is in its device, so that moving it changes none.
// Thread-safety: all methods from any thread. Memory: some 60 bytes a range, of as many as it may
// know. Where more are read, all counts are halved, and those are forgotten that come to nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "base/units.h"
#include "blobs/entry.h"

namespace lamina {

class ReadCounts {
 public:
  static constexpr uint32_t range_blocks = 32;  // a frame of a compression blob
  static constexpr uint32_t often_times = 2;    // all of a range, and more
  static constexpr size_t default_ranges = size_t{1} << 15;

  explicit ReadCounts(size_t most_ranges = default_ranges) : most_ranges_(most_ranges) {}

  void note(MapId map, DeviceBlock begin, uint64_t blocks);
  struct Range {
    MapId map = MapId::none;
    DeviceBlock begin{};
    BlockRange blocks() const { return {begin, begin + BlockCount{range_blocks}}; }
    friend auto operator<=>(const Range&, const Range&) = default;
  };
  // What was read more than `often_times` over, in the order of maps and blocks.
  std::vector<Range> often() const;
  void forget(const Range& range);
  void forget_half();

 private:
  struct Hash {
    size_t operator()(const Range& range) const {
      return std::hash<uint64_t>{}(raw(range.map) * 0x9e3779b97f4a7c15 + range.begin.value);
    }
  };
  void halve() REQUIRES(mutex_);

  const size_t most_ranges_;
  mutable Mutex mutex_;
  std::unordered_map<Range, uint32_t, Hash> read_ GUARDED_BY(mutex_);  // blocks
};

}  // namespace lamina
