// SPDX-License-Identifier: Apache-2.0
// What a batch of the mover takes out of segments that it does not empty: ranges of blocks, and the
// order in which they are to lie.
//
// A part is moved as a whole segment is: its data is copied once, all pointers to it change in one
// checkpoint, aliases of it are stated anew with their new place (C2). What is stated without
// payload stays where it is, with whatever else is live, so the segment goes on being a home; it is
// freed by a walk, when nothing of it is live any more (A4).
// Thread-safety: const after finish().
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "base/units.h"

namespace lamina {

class MovedParts {
 public:
  struct Part {
    Address from{};
    uint32_t blocks = 0;
    uint64_t order = 0;  // of its first block, the next ones follow
  };
  void add(const Part& part) { parts_.push_back(part); }
  // After the last of them. Blocks that several name are one's only: no block is moved twice.
  void finish();

  bool empty() const { return parts_.empty(); }
  size_t count() const { return parts_.size(); }
  uint64_t blocks() const { return blocks_; }
  std::set<Generation> segments() const;
  std::span<const Part> of(Generation generation) const;  // by place
  bool overlaps(Address at, uint64_t blocks) const;

 private:
  std::vector<Part> parts_;  // by `from`
  uint64_t blocks_ = 0;
};

}  // namespace lamina
