// SPDX-License-Identifier: Apache-2.0
// Frames that were decompressed lately, the least lately used given up first.
// Thread-safety: all methods from any thread. Ownership: shared with whoever reads from one.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>

#include "base/mutex.h"
#include "base/units.h"
#include "blobs/frame.h"

namespace lamina {

using FramePtr = std::shared_ptr<const Frame>;

class FrameCache {
 public:
  explicit FrameCache(size_t bytes) : limit_(bytes / frame_bytes) {}

  FramePtr find(Generation generation, uint32_t frame);
  void put(Generation generation, uint32_t frame, FramePtr content);
  void forget(Generation generation);
  size_t bytes() const;

 private:
  static constexpr size_t frame_bytes = size_t{frame_blocks} * block_size + 512;
  using Key = uint64_t;
  struct Cached {
    std::list<Key>::iterator place;
    FramePtr frame;
  };
  static Key key(Generation generation, uint32_t frame) {
    return uint64_t{raw(generation)} << 32 | frame;
  }

  const size_t limit_;  // frames
  mutable Mutex mutex_;
  std::list<Key> order_ GUARDED_BY(mutex_);  // most lately used first
  std::unordered_map<Key, Cached> frames_ GUARDED_BY(mutex_);
};

}  // namespace lamina
