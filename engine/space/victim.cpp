// SPDX-License-Identifier: Apache-2.0
#include "engine/space/victim.h"

#include <algorithm>
#include <cstring>

#include "base/checksum.h"
#include "base/endian.h"
#include "blobs/frame.h"
#include "blobs/segment.h"
#include "blobs/summary.h"
#include "engine/frame_reader.h"
#include "engine/pool_state.h"
#include "engine/space/read_summary.h"

namespace lamina {
namespace {

constexpr uint64_t read_bytes = mib;

Task<Result<>> read_run(Blob& blob, uint32_t index, uint32_t first, std::span<std::byte> into) {
  IoBatch batch;
  for (uint64_t at = 0; at < into.size(); at += read_bytes)
    batch.read(blob.disk(), blob.offset(index, first + static_cast<uint32_t>(at / block_size)),
               into.subspan(at, std::min<uint64_t>(read_bytes, into.size() - at)));
  co_await batch;
  co_return batch.result();
}

}  // namespace

Task<Result<std::unique_ptr<Victim>>> Victim::load(PoolState& pool, Generation generation,
                                                   Payload payload) {
  const auto name = pool.space.find(generation);
  if (!name) co_return fail(Code::not_found, "the segment is gone");
  Blob& blob = pool.space.blob(name->blob);
  auto victim = std::make_unique<Victim>();
  victim->generation_ = generation;
  const Segment segment = pool.space.segment(generation).value_or(Segment{});
  const bool frames = segment.kind == SegmentClass::frames;
  const uint32_t blocks = frames ? 0 : blob.segment_blocks();
  const uint32_t sum_blocks = array_blocks(segment.kind, blob.segment_blocks());
  Buffer sums(uint64_t{sum_blocks} * block_size);
  if (payload == Payload::now && !frames) {
    victim->memory_ = Buffer(blob.segment_bytes());
    LAMINA_CO_TRY(co_await read_run(blob, name->index, 0, victim->memory_.span()));
    std::memcpy(sums.data(), victim->memory_.data() + block_size, sums.size());
  } else {
    LAMINA_CO_TRY(co_await read_run(blob, name->index, 1, sums.span()));
  }
  auto summary = co_await read_summary(pool, generation);
  if (!summary) co_return forward_error(summary);
  if (plain_checksum(sums.span()) != summary->checksums_sum)
    co_return fail(Code::corrupt, "the segment's checksums do not match its summary");
  victim->sums_.resize(blocks);
  for (uint32_t i = 0; i < blocks; ++i) {
    le32 value;
    std::memcpy(value.bytes.data(), sums.data() + size_t{i} * 4, 4);
    victim->sums_[i] = value.load();
  }
  victim->facts_ = Facts(summary->entries);
  for (const Entry& entry : summary->entries)
    if (entry.kind == EntryKind::write)
      victim->data_.push_back({entry.sequence, entry.begin, entry.map, entry.offset,
                               static_cast<uint32_t>(entry.length.value)});
  std::sort(victim->data_.begin(), victim->data_.end(),
            [](const Row& a, const Row& b) { return a.offset < b.offset; });
  if (frames) LAMINA_CO_TRY(co_await victim->load_frames(pool));
  co_return victim;
}

// What is compressed is read whole, and lies in memory by its addresses.
Task<Result<>> Victim::load_frames(PoolState& pool) {
  uint32_t end = 0;
  FrameReader reader;
  for (const Row& row : data_) {
    end = std::max(end, row.offset + row.blocks);
    for (uint32_t frame = row.offset / frame_blocks; frame * frame_blocks < row.offset + row.blocks;
         ++frame)
      reader.want(generation_, frame);
  }
  if (reader.empty()) co_return Result<>{};
  LAMINA_CO_TRY(co_await reader.read(pool, false));
  memory_ = Buffer(size_t{end} * block_size);
  sums_.assign(end, 0);
  for (uint32_t number = 0; number * frame_blocks < end; ++number) {
    const Frame* frame = reader.frame(generation_, number);
    if (!frame) continue;  // what is wanted of it will not match
    for (uint32_t i = 0; i < frame->blocks() && number * frame_blocks + i < end; ++i) {
      const uint32_t block = number * frame_blocks + i;
      std::memcpy(memory_.data() + size_t{block} * block_size,
                  frame->data.data() + size_t{i} * block_size, block_size);
      sums_[block] = frame->good[i] ? frame->checksums[i] : ~frame->checksums[i];
    }
  }
  co_return Result<>{};
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
                      {generation_, block}});
    block = until;
  }
  return pieces;
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
