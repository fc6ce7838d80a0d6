// SPDX-License-Identifier: Apache-2.0
// Pieces that the mover copies together: all in memory, or none. Those that are not are read while
// the ones before them are copied: their bytes one behind the other, and the checksums of those
// that are compressed. Thread-safety: one coroutine. Memory: half of MovePace::window(), and 4
// times that of frames. Ownership: not of pieces and victims, which outlive it. Lives until read().
#pragma once

#include <map>
#include <memory>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "base/executor.h"
#include "base/result.h"
#include "base/task.h"
#include "engine/frame_reader.h"
#include "engine/space/victim.h"

namespace lamina {

class PoolState;
using Victims = std::map<Generation, std::unique_ptr<Victim>>;

class MoveWindow {
 public:
  // Of the first of them, which are taken away. Null: there are none.
  static std::unique_ptr<MoveWindow> begin(PoolState& pool, std::span<const MovedPiece>& pieces,
                                           const Victims& victims);
  // When it has been read: awaited once, before anything else, and before it ends.
  Task<void> read() { co_await done_; }
  const Result<>& result() const { return result_; }
  bool in_memory() const { return in_memory_; }

  // One after the other.
  struct Payload {
    std::span<const std::byte> bytes;
    std::span<const uint32_t> sums;
    bool matches = true;
  };
  std::span<const MovedPiece> pieces() const { return pieces_; }
  Payload next();

 private:
  MoveWindow(std::span<const MovedPiece> pieces, const Victims& victims);
  Task<void> run(PoolState& pool);
  Task<Result<>> read_pieces(PoolState& pool);

  const std::span<const MovedPiece> pieces_;
  const Victims& victims_;
  const bool in_memory_;
  Buffer bytes_;
  std::vector<uint32_t> sums_;
  FrameReader frames_;
  Result<> result_;
  Completion done_;
  size_t piece_ = 0, want_ = 0;  // next() gives
  uint64_t block_ = 0;           // of `bytes_`
};

}  // namespace lamina
