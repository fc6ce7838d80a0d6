// SPDX-License-Identifier: Apache-2.0
#include "engine/space/victim.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/checksum.h"
#include "blobs/frame.h"
#include "engine/frame_reader.h"
#include "engine/pool_state.h"
#include "engine/space/read_summary.h"

namespace lamina {
Task<Result<std::unique_ptr<Victim>>> Victim::load(PoolState& pool, Generation generation,
                                                   Payload payload) {
  const auto name = pool.space.find(generation);
  if (!name) co_return fail(Code::not_found, "the segment is gone");
  Blob& blob = pool.space.blob(name->blob);
  auto victim = std::make_unique<Victim>();
  victim->generation_ = generation;
  const Segment segment = pool.space.segment(generation).value_or(Segment{});
  const bool frames = victim->frames_ = segment.kind == SegmentClass::frames;
  if (payload == Payload::now && !frames) {
    victim->memory_ = Buffer(blob.segment_bytes());
    LAMINA_CO_TRY(co_await blob.read_segment(name->index, victim->memory_.span()));
  }
  auto contents = co_await read_contents(pool, generation);
  if (!contents) co_return forward_error(contents);
  victim->sums_ = std::move(contents->sums);
  const std::vector<Entry>& entries = contents->summary.entries;
  victim->facts_ = Facts(entries);
  for (const Entry& entry : entries)
    if (entry.kind == EntryKind::write)
      victim->data_.push_back({entry.sequence, entry.begin, entry.map, entry.offset,
                               static_cast<uint32_t>(entry.length.value)});
  std::sort(victim->data_.begin(), victim->data_.end(),
            [](const Row& a, const Row& b) { return a.offset < b.offset; });
  if (frames && payload == Payload::now) LAMINA_CO_TRY(co_await victim->load_frames(pool));
  co_return victim;
}

// What is compressed lies in memory by its addresses. What of it is damaged will not match.
Task<Result<>> Victim::load_frames(PoolState& pool) {
  uint32_t end = 0;
  for (const Row& row : data_) end = std::max(end, row.offset + row.blocks);
  memory_ = Buffer(size_t{end} * block_size);
  memory_.zero();
  sums_.assign(end, 0);
  FrameReader reader;
  for (const Row& row : data_)
    reader.want({generation_, row.offset}, memory_.blocks(row.offset, row.blocks),
                std::span(sums_).subspan(row.offset, row.blocks));
  if (reader.empty()) co_return Result<>{};
  co_return co_await reader.read(pool, false);
}

Result<std::vector<MovedPiece>> Victim::pieces(uint32_t block, uint32_t end) const {
  std::vector<MovedPiece> pieces;
  while (block < end) {
    auto after = std::upper_bound(data_.begin(), data_.end(), block,
                                  [](uint32_t b, const Row& row) { return b < row.offset; });
    if (after == data_.begin() || block >= std::prev(after)->offset + std::prev(after)->blocks)
      return fail(Code::corrupt, "a summary does not know a block that a map refers to");
    const Row& row = *std::prev(after);
    const uint32_t until = std::min(end, row.offset + row.blocks);
    pieces.push_back({row.map,
                      row.begin + BlockCount{block - row.offset},
                      until - block,
                      row.sequence,
                      {generation_, block},
                      0});
    block = until;
  }
  return pieces;
}

uint32_t Victim::WholeFrame::begin() const {
  return number * frame_blocks;
}

std::vector<Victim::WholeFrame> Victim::whole_frames(
    std::span<const std::pair<uint32_t, uint32_t>> ranges) const {
  // Blocks in each frame: those that there are, less those that are in the ranges.
  std::map<uint32_t, std::pair<uint32_t, uint32_t>> frames;
  const auto split = [](uint32_t block, uint32_t end, const auto& each) {
    while (block < end) {
      const uint32_t frame = block / frame_blocks;
      const uint32_t now = std::min(end, (frame + 1) * frame_blocks) - block;
      each(frame, now);
      block += now;
    }
  };
  for (const Row& row : data_)
    split(row.offset, row.offset + row.blocks,
          [&](uint32_t frame, uint32_t blocks) { frames[frame].first += blocks; });
  for (const auto& [begin, end] : ranges)
    split(begin, end, [&](uint32_t frame, uint32_t blocks) { frames[frame].second += blocks; });
  std::vector<WholeFrame> whole;
  for (const auto& [frame, blocks] : frames)
    if (blocks.first == blocks.second) whole.push_back({frame, blocks.first});
  return whole;
}

std::span<const uint32_t> Victim::checksums(const MovedPiece& piece) const {
  return std::span(sums_).subspan(piece.from.block, piece.blocks);
}

std::span<const std::byte> Victim::payload(const MovedPiece& piece) const {
  return memory_.blocks(piece.from.block, piece.blocks);
}

bool Victim::matches(const MovedPiece& piece, std::span<const std::byte> payload) const {
  for (uint32_t i = 0; i < piece.blocks; ++i)
    if (payload_checksum(payload.subspan(size_t{i} * block_size, block_size)) !=
        sums_[piece.from.block + i])
      return false;
  return true;
}

}  // namespace lamina
