// SPDX-License-Identifier: Apache-2.0
// Reads blocks out of frames: where those lie from the segment's index, their bytes in one
// submission, neighbours together; then each frame is decompressed once, by several threads where
// there are many, and the blocks that are wanted of it are verified, and no others. A frame that is
// wanted whole is decompressed to where it is wanted; one of which a part is wanted is kept
// in the cache, since the rest of it may be wanted next. Where the index is damaged the frames are
// searched for, once nothing is taken from caches.
// Thread-safety: one coroutine. Memory: the frames that are wanted. Ownership: not of what it
// fills.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/task.h"
#include "engine/frame_cache.h"

namespace lamina {

class PoolState;

class FrameReader {
 public:
  using Name = std::pair<Generation, uint32_t>;  // the frame's number in the segment
  // Blocks from `address` on, as many as `into` has, and what their checksums should be to `sums`,
  // if it is not empty. Returns what found() is asked with.
  size_t want(Address address, std::span<std::byte> into, std::span<uint32_t> sums = {});
  // The frame as it lies there.
  void want_packed(Generation generation, uint32_t frame) {
    wanted_[{generation, frame}].packs = true;
  }
  bool empty() const { return wanted_.empty(); }
  // All that are wanted; `cached`: what is cached is taken from there. Else what an index does not
  // lead to is searched for (B4). Error io: a disk failed.
  Task<Result<>> read(PoolState& pool, bool cached);
  // What want_packed() asked for; null: it is not there, or not whole.
  struct Packed {
    std::vector<std::byte> bytes;
    PackedFrame frame;
  };
  const Packed* packed(Generation generation, uint32_t frame) const;
  // How many blocks of one want are there and match their checksums, up to the first that does not.
  uint32_t found(size_t want) const { return found_[want]; }

 private:
  // What of a frame one want has.
  struct Part {
    size_t want = 0;
    uint32_t block = 0, blocks = 0;  // in the frame
    std::span<std::byte> into;
    std::span<uint32_t> sums;
    uint32_t good = 0;
  };
  struct Wanted {
    std::vector<Part> parts;
    FramePtr frame;                    // cached
    std::span<const std::byte> bytes;  // as it lies on the medium
    MetadataPlace place;
    std::array<uint32_t, 2> ends{};  // of the frame in its segment, in grains
    bool indexed = false;            // `ends` are known
    bool packs = false;
    std::unique_ptr<Packed> packed;
    bool complete() const {
      return (!packs || packed) &&
             std::ranges::all_of(parts, [](const Part& part) { return part.good == part.blocks; });
    }
  };
  struct Run;
  static void unpack(PoolState& pool, const Name& name, Wanted& wanted, bool keeps);
  using Wants = std::vector<std::pair<const Name*, Wanted*>>;
  static Result<std::list<Run>> find_runs(PoolState& pool, const Wants& wants);
  Task<Result<>> read_indexes(PoolState& pool, bool cached);
  static Task<Result<>> read_frames(PoolState& pool, Wants wants, bool keeps);
  Task<Result<>> search(PoolState& pool);
  void count_found();

  std::map<Name, Wanted> wanted_;
  size_t wants_ = 0;
  std::vector<uint32_t> found_;
};

}  // namespace lamina
