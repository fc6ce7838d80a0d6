// SPDX-License-Identifier: Apache-2.0
#include "blobs/layout.h"

#include <algorithm>
#include <limits>

namespace lamina {
namespace {

// An overflowing count is cut off here and refused by those who know the limit.
uint32_t clamped(uint64_t count) {
  return static_cast<uint32_t>(std::min<uint64_t>(count, std::numeric_limits<uint32_t>::max()));
}

}  // namespace

Layout Layout::fresh(uint64_t disk_size, uint64_t segment_bytes, uint64_t erase_bytes) {
  const uint64_t size = round_down(disk_size, block_size);
  const uint64_t first = round_up(edge_bytes, erase_bytes);
  const uint64_t fixed = 2 * first + edge_bytes;  // the middle area is as large as the first
  const uint64_t segments = size > fixed ? (size - fixed) / segment_bytes : 0;
  return of(size, first + segments / 2 * segment_bytes, segment_bytes, erase_bytes);
}

Layout Layout::of(uint64_t disk_size, uint64_t middle, uint64_t segment_bytes,
                  uint64_t erase_bytes) {
  Layout layout;
  layout.size = round_down(disk_size, block_size);
  layout.segment_bytes = segment_bytes;
  layout.first = round_up(edge_bytes, erase_bytes);
  layout.middle = middle;
  if (middle < layout.first || middle % block_size != 0 || middle > layout.size) return layout;
  const uint64_t area = round_up(edge_bytes, erase_bytes);
  if (layout.size - middle < area + edge_bytes) return layout;
  layout.middle_end = middle + area;
  layout.before_middle = clamped((middle - layout.first) / segment_bytes);
  const uint64_t behind = (layout.size - edge_bytes - layout.middle_end) / segment_bytes;
  layout.segment_count = clamped(layout.before_middle + behind);
  return layout;
}

}  // namespace lamina
