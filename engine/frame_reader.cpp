// SPDX-License-Identifier: Apache-2.0
#include "engine/frame_reader.h"

#include <array>
#include <list>
#include <memory>
#include <vector>

#include "base/buffer.h"
#include "base/workers.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

// Decompressing one takes less than handing it over.
constexpr size_t worth_workers = 4;

// One for each thread that decompresses.
FrameCodec& codec_of_thread() {
  thread_local FrameCodec codec;
  return codec;
}

}  // namespace

// A frame's bytes, from the block that it begins in to the one that it ends in.
struct FrameReader::Raw {
  Name name;
  MetadataPlace place;
  Buffer blocks;
  size_t skipped = 0, bytes = 0;
  FramePtr* into = nullptr;
};

// Pages of the indexes that are not cached yet.
Task<Result<>> FrameReader::read_indexes(PoolState& pool, bool cached) {
  std::map<Name, Buffer> pages;  // by generation and page
  IoBatch batch;
  for (const auto& [name, frame] : wanted_) {
    if (frame) continue;
    const auto& [generation, number] = name;
    const auto at = pool.space.locate({generation, number * frame_blocks});
    if (!at) co_return fail(Code::io, "a map points at a segment that is not there (A14)");
    for (const uint32_t word : {number, number + 1}) {
      const uint32_t page = word / Sums::page_blocks;
      if ((cached && pool.sums.has({generation, word})) || pages.contains({generation, page}))
        continue;
      Buffer& block = pages.emplace(Name{generation, page}, Buffer(block_size)).first->second;
      batch.read(at->blob->disk(), at->blob->offset(at->name.index, 1 + page), block.span());
    }
  }
  if (pages.empty()) co_return Result<>{};
  co_await batch;
  LAMINA_CO_TRY(batch.result());
  for (const auto& [page, block] : pages) {
    if (!cached) pool.sums.forget_page(page.first, page.second);
    pool.sums.put(page.first, page.second, block.span());
  }
  co_return Result<>{};
}

Task<Result<>> FrameReader::read(PoolState& pool, bool cached) {
  for (auto& [name, frame] : wanted_) {
    frame = nullptr;
    if (cached) frame = pool.frames.find(name.first, name.second);
  }
  LAMINA_CO_TRY(co_await read_indexes(pool, cached));
  std::list<Raw> raws;
  IoBatch batch;
  for (auto& [name, frame] : wanted_) {
    if (frame) continue;
    const auto& [generation, number] = name;
    const auto at = pool.space.locate({generation, number * frame_blocks});
    if (!at) co_return fail(Code::io, "a map points at a segment that is not there (A14)");
    std::array<uint32_t, 2> ends{};
    if (!pool.sums.get({generation, number}, ends))
      co_return fail(Code::io, "a frame's place was not at hand");  // the second try has it
    const uint64_t begin = uint64_t{ends[0]} * frame_grain, end = uint64_t{ends[1]} * frame_grain;
    // What an index says is believed as far as the frame itself says the same.
    if (begin >= end || end > at->blob->segment_bytes() ||
        end - begin > largest_frame(frame_blocks))
      continue;
    Raw& raw = raws.emplace_back();
    raw.name = name;
    raw.place = {at->name.blob, at->name.index, generation, number};
    raw.into = &frame;
    const uint64_t first = begin / block_size;
    raw.skipped = begin % block_size;
    raw.bytes = end - begin;
    raw.blocks = Buffer((div_up(end, block_size) - first) * block_size);
    batch.read(at->blob->disk(), at->blob->offset(at->name.index, static_cast<uint32_t>(first)),
               raw.blocks.span());
  }
  if (raws.empty()) co_return Result<>{};
  co_await batch;
  LAMINA_CO_TRY(batch.result());
  std::vector<Raw*> all;
  for (Raw& raw : raws) all.push_back(&raw);
  Pieces pieces;
  Workers* const workers = all.size() >= worth_workers ? pool.settings.workers : nullptr;
  const Secret& secret = pool.identity.secret;
  pieces.start(workers, all.size(), [&](size_t at, size_t) {
    const Raw& raw = *all[at];
    auto frame = codec_of_thread().decode(raw.blocks.span().subspan(raw.skipped, raw.bytes), secret,
                                          raw.place);
    if (frame) *raw.into = std::make_shared<const Frame>(std::move(*frame));
  });
  Completion& done = pieces.done();
  co_await done;
  for (const Raw& raw : raws)
    if (*raw.into) pool.frames.put(raw.name.first, raw.name.second, *raw.into);
  co_return Result<>{};
}

}  // namespace lamina
