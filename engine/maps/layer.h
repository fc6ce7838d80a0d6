// SPDX-License-Identifier: Apache-2.0
// The changes of one device since its last fork or checkpoint: a sorted range map in memory, the
// only map that a write changes. Extents in it never overlap; neighbours that continue each other
// are one.
// Thread-safety: none; the device's mutex guards the top layer, frozen layers are immutable.
// Memory: some 40 bytes an extent at random 4 KiB writes; bytes() is what admission counts.
#pragma once

#include <cstddef>
#include <vector>

#include "base/units.h"
#include "engine/maps/extent.h"

namespace lamina {

// Where a range of a map lies now that something is written elsewhere: what lay, block b of it, at
// from + (b - begin), lies at to + (b - begin); `home`: zero, lost and alias extents of the range
// whose home is from.generation now have to.generation.
struct Swap {
  BlockRange range{};
  Address from{}, to{};
  bool home = false;
};

class Layer {
 public:
  // Covers extent.range(), which is not empty, with `extent`, whatever was there. A zero becomes
  // `certain` where it covers something that this layer holds as written (data, lost or a certain
  // zero).
  void insert(const Extent& extent);

  // What this layer says of `range`, in order, clipped to it. Gaps are what it does not know.
  void lookup(BlockRange range, std::vector<Extent>& out) const;

  // Points every data extent inside `range` that still lies at the old place (block b of the
  // device at from + (b - range.begin)) to the new one; likewise the homes of zero, lost and alias
  // extents. Returns blocks changed.
  BlockCount swap_address(BlockRange range, Address from, Address to);
  BlockCount swap_home(BlockRange range, Generation from, Generation to);

  void swap(const Swap& swap) {
    if (swap.home)
      swap_home(swap.range, swap.from.generation, swap.to.generation);
    else
      swap_address(swap.range, swap.from, swap.to);
  }

  bool empty() const { return extents_ == 0; }
  size_t extent_count() const { return extents_; }
  size_t bytes() const;
  uint64_t data_blocks() const { return data_blocks_; }  // in its extents of stored data

  // In order of `begin`: calls visit(const Extent&) for each.
  template <class Visit>
  void for_each(Visit visit) const {
    for (const Chunk& chunk : chunks_)
      for (const Extent& e : chunk) visit(e);
  }

  // Walks the layer in order; for merging. The layer must not change meanwhile.
  class Cursor;

 private:
  // Sorted, never empty, at most `chunk_limit` extents, memory in steps of `chunk_step`.
  using Chunk = std::vector<Extent>;
  static constexpr size_t chunk_limit = 64, chunk_step = 16;

  // Of an extent: never one past a chunk's last, but {chunks_.size(), 0} at the end.
  struct Position {
    size_t chunk = 0, index = 0;
    friend bool operator==(const Position&, const Position&) = default;
  };

  bool at_end(Position p) const { return p.chunk == chunks_.size(); }
  const Extent& at(Position p) const { return chunks_[p.chunk][p.index]; }
  Position next(Position p) const;
  Position previous(Position p) const;  // asserts that there is one
  Position first_ending_after(DeviceBlock block) const;
  void replace(Position from, Position to, const Extent* pieces, size_t count);
  void splice(size_t chunk, size_t from, size_t to, const Extent* pieces, size_t count);
  void split(size_t chunk, bool appending);
  void erase_chunks(size_t from, size_t to);
  void resize_chunk(Chunk& chunk, size_t capacity);

  // Two arrays side by side: the search runs over the dense one.
  std::vector<DeviceBlock> firsts_;  // where each chunk's first extent begins
  std::vector<Chunk> chunks_;
  size_t extents_ = 0;
  uint64_t data_blocks_ = 0;
  size_t allocated_ = 0;  // bytes of chunks
};

class Layer::Cursor {
 public:
  explicit Cursor(const Layer& layer) : layer_(&layer) {}
  bool done() const { return layer_->at_end(position_); }
  const Extent& operator*() const { return layer_->at(position_); }
  const Extent* operator->() const { return &layer_->at(position_); }
  void next() { position_ = layer_->next(position_); }
  // To the first extent that ends after `block`, forwards or backwards.
  void seek(DeviceBlock block) { position_ = layer_->first_ending_after(block); }

 private:
  const Layer* layer_;
  Position position_;
};

}  // namespace lamina
