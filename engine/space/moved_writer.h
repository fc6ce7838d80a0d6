// SPDX-License-Identifier: Apache-2.0
// Fills segments of class moved: each is put together in memory, with its summaries at both ends
// (B4), and written once, front to back, while the next is put together.
// Thread-safety: one coroutine. Durability: finish() has written everything; the checkpoint that
//   publishes the pointers flushes it first (A15).
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "base/task.h"
#include "blobs/record.h"
#include "engine/maps/tree.h"
#include "engine/space/move_plan.h"
#include "engine/space/segment_payload.h"
#include "engine/space/space.h"
#include "engine/space/victim.h"

namespace lamina {

class MovedWriter {
 public:
  // Fills segments of the plan's target tier. `permits`: for segments that it may fill; more of
  // them only if the plan may take more. `entry_bytes`: what a block takes of a summary at the
  // most.
  MovedWriter(PoolState& pool, const MovePlan& plan, std::vector<Space::Permit> permits,
              size_t entry_bytes);
  ~MovedWriter();

  // Takes a piece in; where it does not fit one segment it is split. The result: where its parts
  // are now, in order.
  struct Placed {
    uint32_t blocks = 0;
    Address to{};
  };
  Task<Result<std::vector<Placed>>> append_data(const MovedPiece& piece,
                                                std::span<const std::byte> payload,
                                                std::span<const uint32_t> checksums);
  // Takes in a compressed frame as it is, of which the pieces are all blocks, in order. The result:
  // where its blocks are now; nothing where it does not fit what is left of a segment.
  Task<Result<std::optional<Address>>> append_frame(std::span<const MovedPiece> pieces,
                                                    std::span<const std::byte> frame);
  // What is stated without payload; after all data, since a segment that one of them begins has
  // room for many. The result: its home now.
  Task<Result<Generation>> append_fact(Entry entry);
  // Writes what is open. The result: all segments that were filled.
  Task<Result<std::vector<Generation>>> finish();
  // After a failure: what was filled comes back at once, since nobody has been told of it. This or
  // finish() is awaited before it ends.
  Task<void> give_up();
  uint64_t moved_bytes() const { return moved_bytes_; }

 private:
  bool is_open() const { return name_.generation != Generation::none; }
  std::optional<SegmentName> take();
  Result<> open(bool for_facts);
  uint32_t summary_with(size_t entry_bytes) const;
  uint32_t end_beside(uint32_t summary) const;
  bool takes_entry(size_t entry_bytes) const;
  uint32_t room(size_t entry_bytes) const;
  Task<Result<>> make_room(size_t entry_bytes, bool for_fact);
  Task<Result<>> close();
  // A segment that is being written.
  struct Closed;
  Task<void> write(Closed& closed);
  Task<Result<>> wait_for_written();

  PoolState& pool_;
  const size_t tier_;
  const SegmentClass kind_;
  const Claim claim_;
  std::vector<Space::Permit> permits_;
  const size_t entry_bytes_a_block_;
  SegmentName name_{};
  Buffer memory_;
  Buffer spare_;  // of the segment that was written last
  std::unique_ptr<Closed> written_;
  uint32_t blocks_ = 0;  // of the segment
  uint32_t front_ = 0;  // kept for the front summary; addresses may depend on it, so it is the most
  std::unique_ptr<SegmentPayload> payload_;  // of blobs of the tier's kind
  std::vector<Entry> entries_;
  size_t entry_bytes_ = 0;
  std::vector<Generation> filled_;
  uint64_t moved_bytes_ = 0;
};

}  // namespace lamina
