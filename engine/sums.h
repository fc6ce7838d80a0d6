// SPDX-License-Identifier: Apache-2.0
// Payload checksums: a bounded cache of the pages that lie at a fixed place in each segment, and
// the arrays of segments that have not been sealed yet, which only memory has. Of segments of
// frames the pages say where those lie; a frame's number takes the place of a block's.
// Thread-safety: all methods from any thread.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "base/units.h"

namespace lamina {

// One checksum a block of the segment, counted from its start. Owners: the log's tail segment and
// this cache, until the segment has been sealed.
using SegmentSums = std::shared_ptr<std::vector<uint32_t>>;

class Sums {
 public:
  static constexpr uint32_t page_blocks = 1024;  // checksums in one block

  explicit Sums(size_t bytes) : limit_(bytes / entry_bytes) {}

  // Of `count` blocks from `address` on; false: at least one page is not here.
  bool get(Address address, std::span<uint32_t> out);
  // Whether the page with the checksum of that block is here.
  bool has(Address address);
  // Whether the segment's checksums are kept whole, because they are not on the medium yet.
  bool pinned(Address address);
  // The page of checksums that lies in the segment's (1 + page)th block.
  void put(Generation generation, uint32_t page, std::span<const std::byte> block);
  // Kept until unpin(), whatever the bound.
  void pin(Generation generation, SegmentSums sums);
  void unpin(Generation generation);
  void forget(Generation generation, uint32_t segment_blocks);
  void forget_page(Generation generation, uint32_t page);
  size_t bytes() const;

 private:
  static constexpr size_t entry_bytes = 4096 + 96;
  using Key = uint64_t;
  struct Page {
    std::list<Key>::iterator place;
    std::unique_ptr<uint32_t[]> sums;
    bool used = false;
  };
  static Key key(Generation generation, uint32_t page) {
    return uint64_t{raw(generation)} << 32 | page;
  }
  void make_room() REQUIRES(mutex_);
  void drop(Generation generation, uint32_t page) REQUIRES(mutex_);
  const uint32_t* page_of(Generation generation, uint32_t block) REQUIRES(mutex_);

  const size_t limit_;  // pages
  mutable Mutex mutex_;
  std::list<Key> order_ GUARDED_BY(mutex_);  // newest first, and what has a second chance
  std::unordered_map<Key, Page> pages_ GUARDED_BY(mutex_);
  std::unordered_map<uint32_t, SegmentSums> pinned_ GUARDED_BY(mutex_);
};

}  // namespace lamina
