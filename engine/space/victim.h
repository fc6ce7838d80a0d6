// SPDX-License-Identifier: Apache-2.0
// A segment that is being emptied: its bytes, its checksums and its summary, which knows the
// sequence numbers that the maps do not keep.
// Thread-safety: one coroutine. Memory: the whole segment.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "base/task.h"
#include "blobs/entry.h"
#include "engine/space/facts.h"

namespace lamina {

class PoolState;

class Victim {
 public:
  // Error: its summary or its bytes cannot be read.
  static Task<Result<std::unique_ptr<Victim>>> load(PoolState& pool, Generation generation);

  // A part of what is referred to that one summary entry covers, ready to be written elsewhere.
  struct Piece {
    Entry entry;                          // original map, place and number, clipped
    std::span<const std::byte> payload;   // of data
    std::span<const uint32_t> checksums;  // carried, never made anew (B6)
    Address from{};                       // where it lies now; homes: the generation alone
  };
  // Blocks [begin, end) of it, verified. Error io: one does not match its checksum. corrupt: the
  // summary does not know it.
  Result<std::vector<Piece>> data(uint32_t begin, uint32_t end) const;
  Generation generation() const { return generation_; }
  // What it is the home of.
  const Facts& facts() const { return facts_; }

 private:
  Generation generation_{};
  Buffer memory_;
  std::vector<uint32_t> sums_;
  std::vector<Entry> data_;  // with payload, by offset
  Facts facts_;
};

}  // namespace lamina
