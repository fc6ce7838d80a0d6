// SPDX-License-Identifier: Apache-2.0
#include "engine/read_plan.h"

#include <cstring>
#include <set>

#include "base/checksum.h"
#include "base/endian.h"
#include "blobs/segment.h"
#include "engine/mutation.h"
#include "engine/pool_state.h"
#include "engine/space/read_summary.h"

namespace lamina {

Result<> ReadPlan::add(PoolState& pool, DeviceBlock place, Address address,
                       std::span<std::byte> into) {
  if (is_origin(address)) {
    image_pieces_.push_back({place, address, into});
    return {};
  }
  const auto at = pool.space.locate(address);
  if (!at) return fail(Code::io, "a map points at a segment that is not there (A14)");
  const uint64_t blocks = into.size() / block_size;
  if (pool.space.tier_count() > 1) pool.space.note_read(address.generation, blocks);
  if (pool.settings.promote) pool.promoter.note_read(map_, place, address.generation, blocks);
  if (at->kind != SegmentClass::frames) {
    pieces_.push_back({place, address, into});
    return {};
  }
  framed_pieces_.push_back({place, address, into});
  frames_.want(address, into);
  return {};
}

ReadPlan::Page* ReadPlan::page_of(Address address) {
  for (Page& page : pages_)
    if (page.generation == address.generation && page.index == address.block / Sums::page_blocks)
      return &page;
  return nullptr;
}

Task<Result<>> ReadPlan::run(PoolState& pool) {
  if (image_pieces_.empty()) return fetch(pool, true);
  return read_images(pool);
}

// Then the rest.
Task<Result<>> ReadPlan::read_images(PoolState& pool) {
  for (const Piece& piece : image_pieces_) {
    const OpenOriginPtr origin = pool.origins.find(piece.address.generation);
    Result<> read = fail(Code::io, "a map points at an external origin that is not there (C7)");
    if (origin) read = co_await origin->read(piece.address.block, piece.into);
    if (read) continue;
    image_failed_ = true;
    co_return read;
  }
  if (pieces_.empty() && framed_pieces_.empty()) co_return Result<>{};
  co_return co_await fetch(pool, true);
}

Task<Result<>> ReadPlan::run_again(PoolState& pool) {
  pages_.clear();
  return fetch(pool, false);
}

Task<Result<>> ReadPlan::run_by_records(PoolState& pool) {
  pages_.clear();
  std::set<Generation> generations;
  for (const Piece& piece : pieces_)
    if (!pool.sums.pinned(piece.address)) generations.insert(piece.address.generation);
  bool any = false;
  for (const Generation generation : generations) {
    auto array = co_await read_sums_again(pool, generation);
    any = any || array;
    for (uint32_t page = 0; array && page < array->size() / block_size; ++page) {
      pages_.push_back({generation, page, Buffer(block_size)});
      std::memcpy(pages_.back().block.data(), array->blocks(page, 1).data(), block_size);
    }
  }
  if (!any) co_return fail(Code::io, "a block does not match its checksum");
  const BlockRange bad = bad_;
  auto result = co_await fetch(pool, true);
  // It was not the data.
  if (result)
    for (const Generation generation : generations) pool.healer.note_segment(generation);
  if (!result && bad_.empty()) bad_ = bad;
  co_return result;
}

// Looked up once, for what is mostly so: all of them are cached.
bool ReadPlan::take_sums(PoolState& pool, Piece& piece) {
  const size_t at = sums_.size(), count = piece.into.size() / block_size;
  sums_.resize(at + count);
  if (pool.sums.get(piece.address, std::span(sums_).subspan(at, count))) {
    piece.sums = at;
    return true;
  }
  sums_.resize(at);
  return false;
}

Task<Result<>> ReadPlan::fetch(PoolState& pool, bool cached_sums) {
  const bool verifies = pool.settings.verify_reads;
  // Where some were brought here, those count, not what is cached.
  const bool takes = verifies && cached_sums && pages_.empty();
  sums_.clear();
  IoBatch batch;
  for (Piece& piece : pieces_) {
    piece.sums.reset();
    const auto at = pool.space.locate(piece.address);
    if (!at) co_return fail(Code::io, "a map points at a segment that is not there (A14)");
    batch.read(at->blob->disk(), at->offset, piece.into);
    if (takes && take_sums(pool, piece)) continue;
    const auto blocks = static_cast<uint32_t>(piece.into.size() / block_size);
    for (uint32_t i = 0; verifies && i < blocks;
         i += Sums::page_blocks - (piece.address.block + i) % Sums::page_blocks) {
      const Address block = piece.address + BlockCount{i};
      if ((cached_sums && pool.sums.has(block)) || page_of(block) || pool.sums.pinned(block))
        continue;
      pages_.push_back({block.generation, block.block / Sums::page_blocks, Buffer(block_size)});
      batch.read(at->blob->disk(), at->blob->offset(at->name.index, 1 + pages_.back().index),
                 pages_.back().block.span());
    }
  }
  if (!frames_.empty()) {
    auto framed = co_await frames_.read(pool, cached_sums);
    if (!framed) {
      co_await batch;
      bad_ = {
          framed_pieces_.front().place,
          framed_pieces_.back().place + BlockCount{framed_pieces_.back().into.size() / block_size}};
      co_return framed;
    }
  }
  co_await batch;
  if (!batch.ok()) {
    bad_ = {pieces_.front().place,
            pieces_.back().place + BlockCount{pieces_.back().into.size() / block_size}};
    co_return batch.result();
  }
  for (const Page& page : pages_) pool.sums.put(page.generation, page.index, page.block.span());
  LAMINA_CO_TRY(find_in_frames());
  if (!verifies) co_return Result<>{};
  for (const Piece& piece : pieces_) LAMINA_CO_TRY(verify(pool, piece));
  co_return Result<>{};
}

// A bad frame loses only those of its blocks that are wanted, and a bad block itself alone.
Result<> ReadPlan::find_in_frames() {
  for (size_t want = 0; want < framed_pieces_.size(); ++want) {
    const Piece& piece = framed_pieces_[want];
    const uint32_t found = frames_.found(want);
    if (found == piece.into.size() / block_size) continue;
    const DeviceBlock at = piece.place + BlockCount{found};
    bad_ = {at, at + BlockCount{1}};
    return fail(Code::io, "a block does not match its checksum, or its frame is damaged");
  }
  return {};
}

Result<> ReadPlan::verify(PoolState& pool, const Piece& piece) {
  if (mutated(Mutation::believe_reads)) return {};
  const auto blocks = static_cast<uint32_t>(piece.into.size() / block_size);
  for (uint32_t i = 0; i < blocks; ++i) {
    const Address block = piece.address + BlockCount{i};
    uint32_t expected = 0;
    if (piece.sums) {
      expected = sums_[*piece.sums + i];
    } else if (const Page* page = page_of(block)) {
      le32 value;
      std::memcpy(value.bytes.data(),
                  page->block.data() + size_t{block.block % Sums::page_blocks} * 4, 4);
      expected = value.load();
    } else if (!pool.sums.get(block, {&expected, 1})) {
      // Pushed out of a tiny cache meanwhile: the second try fetches its own.
      bad_ = {piece.place, piece.place + BlockCount{blocks}};
      return fail(Code::io, "checksums were not at hand");
    }
    if (payload_checksum(piece.into.subspan(size_t{i} * block_size, block_size)) != expected) {
      const DeviceBlock at = piece.place + BlockCount{i};
      bad_ = {at, at + BlockCount{1}};
      return fail(Code::io, "a block does not match its checksum");
    }
  }
  return {};
}

}  // namespace lamina
