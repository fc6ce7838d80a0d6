// SPDX-License-Identifier: Apache-2.0
// The changes of one device since its last fork or checkpoint: a sorted range map in memory, the
// only map that a write changes. Extents in it never overlap; neighbours that continue each other
// are one.
// Thread-safety: none; the device's mutex guards the top layer, frozen layers are immutable.
// Memory: some 40 bytes an extent at random 4 KiB writes; bytes() is what admission counts.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <vector>

#include "base/units.h"
#include "engine/maps/extent.h"

namespace lamina {

class Layer {
 public:
  // Covers extent.range() with `extent`, whatever was there. A zero (or lost) becomes `certain`
  // where it covers something that this layer holds as written (data, lost or certain zero).
  void insert(const Extent& extent);

  // What this layer says of `range`, in order, clipped to it. Gaps are what it does not know.
  void lookup(BlockRange range, std::vector<Extent>& out) const;

  // Points every data extent inside `from_range` that still lies at the old place (block b of the
  // device at from + (b - from_range.begin)) to the new one; likewise homes. Returns blocks moved.
  BlockCount swap_address(BlockRange range, Address from, Address to);
  BlockCount swap_home(BlockRange range, Generation from, Generation to);

  bool empty() const { return extents_ == 0; }
  size_t extent_count() const { return extents_; }
  size_t bytes() const;

  // In order of `begin`: calls visit(const Extent&) for each.
  template <class Visit>
  void for_each(Visit visit) const {
    for (const auto& [first, chunk] : chunks_)
      for (const Extent& e : chunk) visit(e);
  }

  // Walks the layer in order, from the first extent that ends after a place; for merging.
  class Cursor;

 private:
  using Chunk = std::vector<Extent>;  // sorted; at most `chunk_limit`
  static constexpr size_t chunk_limit = 128;
  std::map<DeviceBlock, Chunk> chunks_;  // by the begin of the chunk's first extent
  size_t extents_ = 0;
};

}  // namespace lamina
