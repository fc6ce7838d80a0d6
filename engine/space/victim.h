// SPDX-License-Identifier: Apache-2.0
// A segment that data is taken out of: its summary, which knows the sequence numbers that the maps
// do not keep, its checksums, and its bytes, at once or as they are wanted. What is compressed has
// its checksums in the frames, with the bytes.
// Thread-safety: one coroutine. Memory: the whole segment, or some 50 bytes a block.
#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "base/task.h"
#include "blobs/entry.h"
#include "engine/space/facts.h"

namespace lamina {

class PoolState;

// Blocks of data that one summary entry covers, as they are to be written elsewhere: original map,
// place and number.
struct MovedPiece {
  MapId map = MapId::none;
  DeviceBlock begin{};
  uint32_t blocks = 0;
  Sequence sequence = 0;
  Address from{};      // where it lies now
  uint64_t order = 0;  // where parts are taken out: as MovedParts say
};

class Victim {
 public:
  // What is read of it at once.
  enum class Payload : uint8_t { now, later };
  // Error: what is wanted cannot be read, or does not match.
  static Task<Result<std::unique_ptr<Victim>>> load(PoolState& pool, Generation generation,
                                                    Payload payload);

  // Blocks [begin, end) of it. Error corrupt: the summary does not know them.
  Result<std::vector<MovedPiece>> pieces(uint32_t begin, uint32_t end) const;
  // Of what is compressed: frames all of whose blocks lie in ranges [begin, end), which are sorted
  // and apart; each with its blocks.
  struct WholeFrame {
    uint32_t number = 0, blocks = 0;
    uint32_t begin() const;
    uint32_t end() const { return begin() + blocks; }
  };
  std::vector<WholeFrame> whole_frames(std::span<const std::pair<uint32_t, uint32_t>> ranges) const;
  // When no more of them will be asked for: what is left takes 4 bytes a block, or the segment.
  void forget_pieces() { data_ = {}; }
  // Whether what is read later comes in frames.
  bool has_frames() const { return frames_; }
  // Carried, never made anew (B6). Not of what comes in frames later.
  std::span<const uint32_t> checksums(const MovedPiece& piece) const;
  bool has_payload() const { return memory_.size() > 0; }
  uint64_t payload_bytes() const { return memory_.size(); }  // in memory
  std::span<const std::byte> payload(const MovedPiece& piece) const;
  // Whether these are the bytes of the piece.
  bool matches(const MovedPiece& piece, std::span<const std::byte> payload) const;

  Generation generation() const { return generation_; }
  // What it is the home of.
  const Facts& facts() const { return facts_; }

 private:
  struct Row {
    Sequence sequence = 0;
    DeviceBlock begin{};
    MapId map = MapId::none;
    uint32_t offset = 0, blocks = 0;
  };
  Task<Result<>> load_frames(PoolState& pool);

  Generation generation_{};
  bool frames_ = false;
  Buffer memory_;
  std::vector<uint32_t> sums_;
  std::vector<Row> data_;  // with payload, by offset
  Facts facts_;
};

}  // namespace lamina
