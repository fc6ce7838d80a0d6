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

// Frames that lie one behind the other, and are read together.
struct FrameReader::Run {
  struct Part {
    Name name;
    MetadataPlace place;
    size_t offset = 0, bytes = 0;  // in `blocks`
    FramePtr* into = nullptr;
  };
  uint64_t begin = 0, end = 0;  // bytes in the segment
  Space::Location at;
  std::vector<Part> parts;
  Buffer blocks;
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
  auto runs = find_runs(pool);
  if (!runs) co_return forward_error(runs);
  if (runs->empty()) co_return Result<>{};
  IoBatch batch;
  for (Run& run : *runs) {
    const uint64_t first = run.begin / block_size;
    run.blocks = Buffer((div_up(run.end, block_size) - first) * block_size);
    for (Run::Part& part : run.parts) part.offset -= first * block_size;
    batch.read(run.at.blob->disk(),
               run.at.blob->offset(run.at.name.index, static_cast<uint32_t>(first)),
               run.blocks.span());
  }
  co_await batch;
  LAMINA_CO_TRY(batch.result());
  std::vector<std::pair<const Run*, const Run::Part*>> all;
  for (const Run& run : *runs)
    for (const Run::Part& part : run.parts) all.emplace_back(&run, &part);
  Pieces pieces;
  Workers* const workers = all.size() >= worth_workers ? pool.settings.readers : nullptr;
  const Secret& secret = pool.identity.secret;
  pieces.start(workers, all.size(), [&](size_t at, size_t) {
    const auto [run, part] = all[at];
    auto frame = codec_of_thread().decode(run->blocks.span().subspan(part->offset, part->bytes),
                                          secret, part->place);
    if (frame) *part->into = std::make_shared<const Frame>(std::move(*frame));
  });
  Completion& done = pieces.done();
  co_await done;
  for (const auto& [run, part] : all)
    if (*part->into) pool.frames.put(part->name.first, part->name.second, *part->into);
  co_return Result<>{};
}

// Those that are not cached, by their places, which the indexes say.
Result<std::list<FrameReader::Run>> FrameReader::find_runs(PoolState& pool) {
  std::list<Run> runs;
  for (auto& [name, frame] : wanted_) {
    if (frame) continue;
    const auto& [generation, number] = name;
    const auto at = pool.space.locate({generation, number * frame_blocks});
    if (!at) return fail(Code::io, "a map points at a segment that is not there (A14)");
    std::array<uint32_t, 2> ends{};
    if (!pool.sums.get({generation, number}, ends))
      return fail(Code::io, "a frame's place was not at hand");  // the second try has it
    const uint64_t begin = uint64_t{ends[0]} * frame_grain, end = uint64_t{ends[1]} * frame_grain;
    // What an index says is believed as far as the frame itself says the same.
    if (begin >= end || end > at->blob->segment_bytes() ||
        end - begin > largest_frame(frame_blocks))
      continue;
    const bool goes_on =
        !runs.empty() && runs.back().end == begin && runs.back().at.name == at->name;
    if (!goes_on) {
      runs.emplace_back();
      runs.back().begin = begin;
      runs.back().at = *at;
    }
    runs.back().end = end;
    runs.back().parts.push_back(
        {name, {at->name.blob, at->name.index, generation, number}, begin, end - begin, &frame});
  }
  return runs;
}

}  // namespace lamina
