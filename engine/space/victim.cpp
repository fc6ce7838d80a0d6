// SPDX-License-Identifier: Apache-2.0
#include "engine/space/victim.h"

#include <algorithm>
#include <cstring>

#include "base/checksum.h"
#include "base/endian.h"
#include "blobs/segment.h"
#include "blobs/summary.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

constexpr uint64_t read_bytes = mib;

}  // namespace

Task<Result<std::unique_ptr<Victim>>> Victim::load(PoolState& pool, Generation generation) {
  const auto name = pool.space.find(generation);
  if (!name) co_return fail(Code::not_found, "the segment is gone");
  JournalBlob& blob = pool.space.blob(name->blob);
  auto victim = std::make_unique<Victim>();
  victim->generation_ = generation;
  victim->memory_ = Buffer(blob.segment_bytes());
  IoBatch batch;
  for (uint64_t at = 0; at < blob.segment_bytes(); at += read_bytes)
    batch.read(blob.disk(), blob.offset(name->index, static_cast<uint32_t>(at / block_size)),
               victim->memory_.span().subspan(at, std::min(read_bytes, blob.segment_bytes() - at)));
  co_await batch;
  LAMINA_CO_TRY(batch.result());

  const uint32_t blocks = blob.segment_blocks();
  MetadataPlace place{name->blob, name->index, generation, blocks - 1};
  auto length =
      back_summary_blocks(victim->memory_.blocks(blocks - 1, 1), pool.identity.secret, place);
  if (!length) co_return forward_error(length);
  place.block = blocks - *length;
  auto summary = unpack_summary(victim->memory_.blocks(place.block, *length), pool.identity.secret,
                                place, true);
  if (!summary) co_return forward_error(summary);
  const uint32_t sum_blocks = checksum_blocks(SegmentClass::log, blocks);
  if (plain_checksum(victim->memory_.blocks(1, sum_blocks)) != summary->checksums_sum)
    co_return fail(Code::corrupt, "the segment's checksums do not match its summary");
  victim->sums_.resize(blocks);
  for (uint32_t i = 0; i < blocks; ++i) {
    le32 value;
    std::memcpy(value.bytes.data(), victim->memory_.data() + block_size + size_t{i} * 4, 4);
    victim->sums_[i] = value.load();
  }
  victim->facts_ = Facts(summary->entries);
  for (Entry& entry : summary->entries)
    if (entry.kind == EntryKind::write) victim->data_.push_back(std::move(entry));
  std::sort(victim->data_.begin(), victim->data_.end(),
            [](const Entry& a, const Entry& b) { return a.offset < b.offset; });
  co_return victim;
}

Result<std::vector<Victim::Piece>> Victim::data(uint32_t block, uint32_t end) const {
  std::vector<Piece> pieces;
  while (block < end) {
    auto after = std::upper_bound(data_.begin(), data_.end(), block,
                                  [](uint32_t b, const Entry& e) { return b < e.offset; });
    if (after == data_.begin())
      return fail(Code::corrupt, "a summary does not know a block that a map refers to");
    const Entry& entry = *std::prev(after);
    const auto entry_end = entry.offset + static_cast<uint32_t>(entry.length.value);
    if (block >= entry_end)
      return fail(Code::corrupt, "a summary does not know a block that a map refers to");
    const uint32_t until = std::min(end, entry_end);
    Piece piece;
    piece.entry = entry;
    piece.entry.begin = entry.begin + BlockCount{block - entry.offset};
    piece.entry.length = {until - block};
    piece.entry.offset = block;
    piece.payload = memory_.blocks(block, until - block);
    piece.checksums = std::span(sums_).subspan(block, until - block);
    piece.from = {generation_, block};
    for (uint32_t i = 0; i < until - block; ++i)
      if (payload_checksum(memory_.blocks(block + i, 1)) != piece.checksums[i])
        return fail(Code::io, "a block does not match its checksum");
    pieces.push_back(std::move(piece));
    block = until;
  }
  return pieces;
}

}  // namespace lamina
