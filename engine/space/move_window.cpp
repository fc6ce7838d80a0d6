// SPDX-License-Identifier: Apache-2.0
#include "engine/space/move_window.h"

#include <set>

#include "blobs/frame.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

// Decompressed for what is read at once: 4 times as much.
constexpr uint64_t bytes_a_frame = frame_blocks * block_size / 4;

}  // namespace

std::unique_ptr<MoveWindow> MoveWindow::begin(PoolState& pool, std::span<const MovedPiece>& pieces,
                                              const Victims& victims) {
  if (pieces.empty()) return nullptr;
  size_t count = 0;
  uint64_t bytes = 0;
  std::set<FrameReader::Name> frames;
  const uint64_t most = pool.move_pace.window() / 2;  // since two are there at a time
  const auto in_memory = [&](const MovedPiece& piece) {
    return victims.at(piece.from.generation)->has_payload();
  };
  while (count < pieces.size() && in_memory(pieces[count]) == in_memory(pieces[0]) &&
         (count == 0 || (bytes < most && frames.size() * bytes_a_frame < most))) {
    const MovedPiece& piece = pieces[count++];
    bytes += uint64_t{piece.blocks} * block_size;
    if (!victims.at(piece.from.generation)->has_frames()) continue;
    const uint32_t last = (piece.from.block + piece.blocks - 1) / frame_blocks;
    for (uint32_t frame = piece.from.block / frame_blocks; frame <= last; ++frame)
      frames.emplace(piece.from.generation, frame);
  }
  std::unique_ptr<MoveWindow> window(new MoveWindow(pieces.first(count), victims));
  pieces = pieces.subspan(count);
  if (window->in_memory_)
    window->done_.signal();
  else
    spawn(window->run(pool));
  return window;
}

MoveWindow::MoveWindow(std::span<const MovedPiece> pieces, const Victims& victims)
    : pieces_(pieces),
      victims_(victims),
      in_memory_(victims.at(pieces[0].from.generation)->has_payload()) {}

Task<void> MoveWindow::run(PoolState& pool) {
  result_ = co_await read_pieces(pool);
  done_.signal();
}

Task<Result<>> MoveWindow::read_pieces(PoolState& pool) {
  uint64_t blocks = 0;
  for (const MovedPiece& piece : pieces_) blocks += piece.blocks;
  pool.move_pace.note_read(blocks * block_size);
  bytes_ = Buffer(blocks * block_size);
  sums_.resize(blocks);
  IoBatch batch;
  blocks = 0;
  for (const MovedPiece& piece : pieces_) {
    const auto into = bytes_.blocks(blocks, piece.blocks);
    const auto sums = std::span(sums_).subspan(blocks, piece.blocks);
    blocks += piece.blocks;
    if (victims_.at(piece.from.generation)->has_frames()) {
      frames_.want(piece.from, into, sums);
      continue;
    }
    const auto at = pool.space.locate(piece.from);
    if (!at) co_return fail(Code::corrupt, "a segment that is being emptied is gone");
    batch.read(at->blob->disk(), at->offset, into);
  }
  co_await batch;
  LAMINA_CO_TRY(batch.result());
  if (!frames_.empty()) LAMINA_CO_TRY(co_await frames_.read(pool, false));
  co_return Result<>{};
}

MoveWindow::Payload MoveWindow::next() {
  const MovedPiece& piece = pieces_[piece_++];
  const Victim& victim = *victims_.at(piece.from.generation);
  if (in_memory_) {
    const auto bytes = victim.payload(piece);
    return {bytes, victim.checksums(piece), victim.matches(piece, bytes)};
  }
  Payload payload;
  payload.bytes = bytes_.blocks(block_, piece.blocks);
  if (victim.has_frames()) {
    payload.sums = std::span(sums_).subspan(block_, piece.blocks);
    payload.matches = frames_.found(want_++) == piece.blocks;
  } else {
    payload.sums = victim.checksums(piece);
    payload.matches = victim.matches(piece, payload.bytes);
  }
  block_ += piece.blocks;
  return payload;
}

}  // namespace lamina
