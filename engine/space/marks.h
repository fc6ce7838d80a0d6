// SPDX-License-Identifier: Apache-2.0
// What a walk finds in the segments: which blocks are referred to, and by whom. A bit for each
// block, another where some maps are snapshots, and where more than one map has blocks of a segment
// alone, an owner for each. Memory is bounded: a segment that finds no room in one pass over the
// leaves is counted in a later one, and each pass counts at least one of those that are left.
// Thread-safety: add() from any thread; end_pass() for different stripes likewise, when nobody
//   adds; the rest by the one walk. Memory: some 100 bytes a segment and some MiB a tally besides
//   the bound.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "base/units.h"
#include "engine/space/shared_blocks.h"

namespace lamina {

class Marks {
 public:
  // Of the maps that may share with others, in any order.
  using Owner = uint16_t;
  static constexpr size_t most_owners = UINT16_MAX;
  // Who refers to a block is several maps, or nobody asks who.
  static constexpr Owner several = UINT16_MAX;
  static constexpr size_t stripes = 64;

  // `segment_blocks`: no segment has more. `owners`: below this. 0: nobody asks what a map has
  // alone. `snapshots`: whether to tell what nobody else refers to.
  Marks(uint32_t segment_blocks, uint64_t memory_bytes, size_t owners, bool snapshots);

  struct Live {
    uint64_t blocks = 0, homes = 0;   // blocks that several extents refer to count once
    uint64_t of_snapshots_alone = 0;  // of the blocks
  };
  using LiveByGeneration = std::unordered_map<uint32_t, Live>;
  // What one thread counts by itself, since it needs no marks: threads that met at each extent
  // would take longer together than one alone. In the first pass only.
  class alignas(64) Tally {
   public:
    // Blocks that no other extent refers to.
    void add_sole(Generation generation, uint64_t blocks, bool of_snapshot) {
      Live& live = live_[raw(generation)];
      live.blocks += blocks;
      if (of_snapshot) live.of_snapshots_alone += blocks;
    }
    void add_home(Generation generation) { ++live_[raw(generation)].homes; }
    // It is to be handed over: it has as many segments as it may hold.
    bool full() const { return live_.size() >= most_segments; }

   private:
    friend class Marks;
    static constexpr size_t most_segments = size_t{1} << 15;
    LiveByGeneration live_;
  };
  // Leaves it empty.
  void add(Tally& tally);
  // `owner` refers to blocks [begin, end) of the segment; whoever has referred to one before may be
  // another.
  struct Reference {
    Generation generation = Generation::none;
    uint32_t begin = 0, end = 0;
    Owner owner = several;
    bool of_snapshot = false;  // no map refers to them by that leaf that is no snapshot
  };
  static size_t stripe_of(Generation generation) { return raw(generation) % stripes; }
  // All of one stripe, and many at a time, for the same reason. Asserts that they lie in segments.
  void add(size_t stripe, std::span<const Reference> references);

  // Counts what the pass has found; each stripe once.
  void end_pass(size_t stripe);
  // After the end of a pass: some segments did not find room.
  bool take_pass_left() { return left_.exchange(false); }

  LiveByGeneration live() const;
  uint64_t exclusive(size_t owner) const { return exclusive_[owner]; }  // blocks
  // Of all segments, but those that would take more memory than this, where a map refers to a block
  // more than once, and, where nobody asks, where several may. Moves it out.
  SharedBlocks take_shared(uint64_t memory_bytes);

 private:
  enum class State : uint8_t { unseen, marking, later, counted };
  struct Segment {
    State state = State::unseen;
    bool doubled = false;   // one map refers to a block more than once
    Owner first = several;  // whose all blocks are that `owners` does not say
    Live live;              // of blocks, those of passes that have ended
    // Which blocks are referred to; then, which by several; and which by others than snapshots.
    std::unique_ptr<uint64_t[]> words;
    std::unique_ptr<Owner[]> owners;  // of those that one alone refers to
    SharedBlocks::Bits shared;        // of a counted one, if there are any
  };
  struct alignas(64) Stripe {
    mutable Mutex mutex;
    std::unordered_map<uint32_t, Segment> segments GUARDED_BY(mutex);
  };

  size_t used_at() const { return segment_words_ * (asks_ ? 2 : 1); }
  uint64_t bits_bytes() const { return (used_at() + (snapshots_ ? segment_words_ : 0)) * 8; }
  uint64_t owners_bytes() const { return segment_words_ * 64 * sizeof(Owner); }
  bool take_memory(uint64_t bytes);
  bool begin(Segment& segment);
  bool begin_owners(Segment& segment);
  void free(Segment& segment);
  bool mark(Segment& segment, const Reference& reference);
  bool mark_word(Segment& segment, size_t word, uint64_t mask, Owner owner);
  void count(Segment& segment);

  const size_t segment_words_;
  const uint64_t most_bytes_;
  const bool asks_, snapshots_;
  std::atomic<uint64_t> bytes_{0};
  std::atomic<bool> left_{false};
  std::array<Stripe, stripes> stripes_;
  std::vector<std::atomic<uint64_t>> exclusive_;
};

}  // namespace lamina
