// SPDX-License-Identifier: Apache-2.0
#include "engine/space/carried_frames.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "blobs/frame.h"
#include "engine/frame_reader.h"
#include "engine/pool_state.h"
#include "engine/space/moved_writer.h"

namespace lamina {
namespace {

constexpr size_t frames_at_once = 128;  // of 64 KiB at the most

Task<Result<>> put_anew(const CarriedFrame& carried, const Frame& frame, MovedWriter& writer,
                        Relocations& moved) {
  uint32_t done = 0;
  for (const MovedPiece& piece : carried.pieces) {
    auto placed = co_await writer.append_data(
        piece, frame.data.blocks(done, piece.blocks),
        std::span<const uint32_t>(frame.checksums).subspan(done, piece.blocks));
    if (!placed) co_return forward_error(placed);
    done += piece.blocks;
    uint32_t part = 0;
    for (const MovedWriter::Placed& at : *placed) {
      moved.add_data(piece.from + BlockCount{part}, at.blocks, at.to);
      part += at.blocks;
    }
  }
  co_return Result<>{};
}

bool all_good(const Frame& frame) {
  for (uint32_t block = 0; block < frame.blocks(); ++block)
    if (!frame.good(block)) return false;
  return true;
}

}  // namespace

Result<std::vector<CarriedFrame>> take_whole_frames(const Victim& victim, BlockRanges& ranges) {
  std::vector<CarriedFrame> frames;
  BlockRanges left;
  const auto whole = victim.whole_frames(ranges);
  auto next = whole.begin();
  for (auto [begin, end] : ranges) {
    for (; next != whole.end() && next->begin() < end; ++next) {
      auto pieces = victim.pieces(next->begin(), next->end());
      if (!pieces) return forward_error(pieces);
      frames.push_back({victim.generation(), next->number, std::move(*pieces)});
      if (begin < next->begin()) left.emplace_back(begin, next->begin());
      begin = next->end();
    }
    if (begin < end) left.emplace_back(begin, end);
  }
  ranges = std::move(left);
  return frames;
}

Task<Result<>> carry_frames(PoolState& pool, std::vector<CarriedFrame> frames, MovedWriter& writer,
                            Relocations& moved, std::function<void(const CarriedFrame&)> damaged) {
  std::sort(frames.begin(), frames.end(), [](const CarriedFrame& a, const CarriedFrame& b) {
    const MovedPiece &x = a.pieces.front(), &y = b.pieces.front();
    return std::tie(x.map, x.begin, x.sequence) < std::tie(y.map, y.begin, y.sequence);
  });
  FrameCodec codec;
  for (size_t begin = 0; begin < frames.size(); begin += frames_at_once) {
    const auto now =
        std::span(frames).subspan(begin, std::min(frames_at_once, frames.size() - begin));
    FrameReader reader;
    for (const CarriedFrame& frame : now) reader.want_packed(frame.victim, frame.number);
    auto read = co_await reader.read(pool, false);
    if (!read && read.error().code != Code::io) co_return read;
    for (const CarriedFrame& frame : now) {
      const FrameReader::Packed* packed = reader.packed(frame.victim, frame.number);
      uint32_t blocks = 0;
      for (const MovedPiece& piece : frame.pieces) blocks += piece.blocks;
      if (!packed || packed->frame.blocks() != blocks) {
        damaged(frame);
        continue;
      }
      pool.move_pace.note_read(packed->bytes.size());
      auto to = co_await writer.append_frame(frame.pieces, packed->bytes);
      if (!to) co_return forward_error(to);
      if (*to) {
        for (const MovedPiece& piece : frame.pieces) {
          moved.add_data(piece.from, piece.blocks, **to);
          **to = **to + BlockCount{piece.blocks};
        }
        continue;
      }
      auto unpacked = codec.decode(packed->frame);
      if (unpacked && all_good(*unpacked))
        LAMINA_CO_TRY(co_await put_anew(frame, *unpacked, writer, moved));
      else
        damaged(frame);
    }
  }
  co_return Result<>{};
}

}  // namespace lamina
