// SPDX-License-Identifier: Apache-2.0
// What one read has to fetch: data straight into the reader's memory, and the pages of checksums
// that are not cached, in one submission (E7). Then every block is verified. Of what is compressed,
// the frames that it is in, no more of them, and no less.
// Thread-safety: one coroutine. Ownership: of the pages it fetches, not of the reader's memory.
#pragma once

#include <list>
#include <optional>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "base/result.h"
#include "base/task.h"
#include "base/units.h"
#include "engine/frame_reader.h"

namespace lamina {

class PoolState;

class ReadPlan {
 public:
  explicit ReadPlan(MapId map) : map_(map) {}

  // `place`: of the first block in the device.
  Result<> add(PoolState& pool, DeviceBlock place, Address address, std::span<std::byte> into);
  bool empty() const { return pieces_.empty() && framed_pieces_.empty() && image_pieces_.empty(); }
  // What failed was an image outside the pool: no other copy of it is anywhere.
  bool image_failed() const { return image_failed_; }
  // Error io: a disk failed, or a block does not match its checksum; bad() says which.
  Task<Result<>> run(PoolState& pool);
  Task<Result<>> run_again(PoolState& pool);
  // Of a log segment, its records say what its checksums should be (B4).
  Task<Result<>> run_by_records(PoolState& pool);
  BlockRange bad() const { return bad_; }

 private:
  struct Piece {
    DeviceBlock place{};
    Address address{};
    std::span<std::byte> into;
    std::optional<size_t> sums{};  // in sums_, where all of its checksums were at hand
  };
  struct Page {
    Generation generation{};
    uint32_t index = 0;
    Buffer block;
  };
  Task<Result<>> read_images(PoolState& pool);
  Task<Result<>> fetch(PoolState& pool, bool cached_sums);
  Result<> verify(PoolState& pool, const Piece& piece);
  Page* page_of(Address address);
  bool take_sums(PoolState& pool, Piece& piece);

  Result<> find_in_frames();

  const MapId map_;
  std::vector<Piece> pieces_;         // of plain blocks
  std::vector<Piece> framed_pieces_;  // of blocks in frames, in the order that they are wanted
  std::vector<Piece> image_pieces_;   // of external origins
  bool image_failed_ = false;
  FrameReader frames_;
  std::vector<uint32_t> sums_;
  std::list<Page> pages_;  // addresses must stay while they are read into
  BlockRange bad_{};
};

}  // namespace lamina
