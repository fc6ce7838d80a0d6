// SPDX-License-Identifier: Apache-2.0
// Reads frames: where they lie from the segment's index, their bytes in one submission, neighbours
// together, then decompressed, many of them by several threads.
// Thread-safety: one coroutine. Memory: the frames that are wanted.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <utility>

#include "base/task.h"
#include "engine/frame_cache.h"

namespace lamina {

class PoolState;

class FrameReader {
 public:
  using Name = std::pair<Generation, uint32_t>;  // the frame's number in the segment
  void want(Generation generation, uint32_t frame) { wanted_[{generation, frame}]; }
  bool empty() const { return wanted_.empty(); }
  // All that are wanted; `cached`: what is cached is taken from there. Afterwards frame() gives
  // those that are whole, and null for the others. Error io: a disk failed.
  Task<Result<>> read(PoolState& pool, bool cached);
  const Frame* frame(Generation generation, uint32_t number) const {
    const auto found = wanted_.find({generation, number});
    return found == wanted_.end() ? nullptr : found->second.get();
  }

 private:
  struct Run;
  Result<std::list<Run>> find_runs(PoolState& pool);
  Task<Result<>> read_indexes(PoolState& pool, bool cached);

  std::map<Name, FramePtr> wanted_;
};

}  // namespace lamina
