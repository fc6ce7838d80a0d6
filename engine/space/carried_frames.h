// SPDX-License-Identifier: Apache-2.0
// Frames that the mover carries to another segment as they are, because all of their blocks live
// and go to a blob that compresses too (D4): neither decompressed nor compressed again, so cleaning
// costs no more there than elsewhere. What a frame stores is held against its checksum first, and a
// frame that is not whole is not carried (B6). Its blocks keep their checksums, and their
// entries, with their numbers (A12).
// Thread-safety: one coroutine. Memory: 8 MiB of frames at a time.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "base/task.h"
#include "engine/maps/relocations.h"
#include "engine/space/victim.h"

namespace lamina {

class MovedWriter;
class PoolState;

struct CarriedFrame {
  Generation victim{};
  uint32_t number = 0;
  std::vector<MovedPiece> pieces;  // all of its blocks, in their order
};

// Takes the frames that live whole out of what lives in a victim. Error corrupt: its summary does
// not know a block.
using BlockRanges = std::vector<std::pair<uint32_t, uint32_t>>;  // [begin, end), sorted, apart
Result<std::vector<CarriedFrame>> take_whole_frames(const Victim& victim, BlockRanges& ranges);

// In the order of their first blocks. `damaged` is told of one that is not whole, or
// cannot be read. One that does not
// fit what is left of a segment is compressed anew, so that its blocks fill what is left.
// Errors: io, where what is written failed; no_space.
Task<Result<>> carry_frames(PoolState& pool, std::vector<CarriedFrame> frames, MovedWriter& writer,
                            Relocations& moved, std::function<void(const CarriedFrame&)> damaged);

}  // namespace lamina
