// SPDX-License-Identifier: Apache-2.0
#include "engine/frame_reader.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <list>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "base/checksum.h"
#include "base/endian.h"
#include "base/workers.h"
#include "engine/frame_search.h"
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
  struct Member {
    Wanted* wanted = nullptr;
    uint64_t begin = 0, bytes = 0;  // in the segment
  };
  uint64_t begin = 0, end = 0;  // bytes in the segment
  Space::Location at;
  std::vector<Member> members;
  Buffer blocks;
};

size_t FrameReader::want(Address address, std::span<std::byte> into, std::span<uint32_t> sums) {
  const auto blocks = static_cast<uint32_t>(into.size() / block_size);
  for (uint32_t done = 0; done < blocks;) {
    const uint32_t block = address.block + done, in_frame = block % frame_blocks;
    const uint32_t now = std::min(blocks - done, frame_blocks - in_frame);
    wanted_[{address.generation, block / frame_blocks}].parts.push_back(
        {wants_, in_frame, now, into.subspan(size_t{done} * block_size, size_t{now} * block_size),
         sums.empty() ? sums : sums.subspan(done, now)});
    done += now;
  }
  return wants_++;
}

const FrameReader::Packed* FrameReader::packed(Generation generation, uint32_t frame) const {
  const auto found = wanted_.find({generation, frame});
  return found == wanted_.end() ? nullptr : found->second.packed.get();
}

// A want's parts come in the order of its blocks.
void FrameReader::count_found() {
  found_.assign(wants_, 0);
  std::vector<bool> ended(wants_);
  for (const auto& [name, wanted] : wanted_)
    for (const Part& part : wanted.parts) {
      if (!ended[part.want]) found_[part.want] += part.good;
      ended[part.want] = ended[part.want] || part.good < part.blocks;
    }
}

namespace {

// How many of a part's blocks are there and right, from the first on.
uint32_t good_blocks(std::span<const std::byte> data, std::span<const uint32_t> checksums) {
  uint32_t good = 0;
  while (good < checksums.size() &&
         payload_checksum(data.subspan(size_t{good} * block_size, block_size)) == checksums[good])
    ++good;
  return good;
}

}  // namespace

// By any thread; different frames at once.
void FrameReader::unpack(PoolState& pool, const Name& name, Wanted& wanted, bool keeps) {
  if (wanted.packs) {
    auto copy = std::make_unique<Packed>();
    copy->bytes.assign(wanted.bytes.begin(), wanted.bytes.end());
    auto whole = whole_frame(copy->bytes, pool.identity.secret, wanted.place);
    if (whole) {
      copy->frame = *whole;
      wanted.packed = std::move(copy);
    }
    if (wanted.parts.empty()) return;
  }
  std::optional<Result<PackedFrame>> packed;
  if (!wanted.frame) packed = open_frame(wanted.bytes, pool.identity.secret, wanted.place);
  if (packed && !*packed) return;
  const std::span<const uint32_t> checksums =
      wanted.frame ? std::span<const uint32_t>(wanted.frame->checksums) : (*packed)->checksums();
  const Part& first = wanted.parts.front();
  const bool whole = wanted.parts.size() == 1 && first.blocks == checksums.size();
  if (!wanted.frame && !whole) {
    auto frame = codec_of_thread().decode(**packed);
    if (!frame) return;
    wanted.frame = std::make_shared<const Frame>(std::move(*frame));
    if (keeps) pool.frames.put(name.first, name.second, wanted.frame);
  }
  for (Part& part : wanted.parts) {
    if (part.block + part.blocks > checksums.size()) continue;
    const auto sums = checksums.subspan(part.block, part.blocks);
    if (wanted.frame)
      std::memcpy(part.into.data(), wanted.frame->data.blocks(part.block, part.blocks).data(),
                  part.into.size());
    else if (!codec_of_thread().unpack(**packed, part.into))
      return;
    std::copy(sums.begin(),
              sums.begin() + static_cast<long>(std::min(sums.size(), part.sums.size())),
              part.sums.begin());
    part.good = good_blocks(part.into, sums);
  }
}

// Where the indexes say that the frames are, by pages that are cached or are read.
Task<Result<>> FrameReader::read_indexes(PoolState& pool, bool cached) {
  struct Page {
    Buffer block{block_size};
    const DiskOperation* reading = nullptr;
  };
  std::map<Name, Page> pages;  // by generation and page
  IoBatch batch;
  for (auto& [name, wanted] : wanted_) {
    if (wanted.frame) continue;
    const auto& [generation, number] = name;
    const auto at = pool.space.locate({generation, number * frame_blocks});
    if (!at) co_return fail(Code::io, "a map points at a segment that is not there (A14)");
    wanted.indexed = cached && pool.sums.get({generation, number}, wanted.ends);
    if (wanted.indexed) continue;
    for (const uint32_t word : {number, number + 1}) {
      const uint32_t number_of_page = word / Sums::page_blocks;
      Page& page = pages[{generation, number_of_page}];
      if (page.reading) continue;
      page.reading =
          &batch.read(at->blob->disk(), at->blob->offset(at->name.index, 1 + number_of_page),
                      page.block.span());
    }
  }
  if (pages.empty()) co_return Result<>{};
  co_await batch;
  if (cached) LAMINA_CO_TRY(batch.result());
  for (auto& [name, page] : pages) {
    if (!cached) pool.sums.forget_page(name.first, name.second);
    if (page.reading->error == 0)
      pool.sums.put(name.first, name.second, page.block.span());
    else
      page.block.zero();  // it leads nowhere
  }
  for (auto& [name, wanted] : wanted_) {
    if (wanted.frame || wanted.indexed) continue;
    for (const uint32_t next : {0U, 1U}) {
      const uint32_t word = name.second + next;
      le32 value;
      std::memcpy(&value,
                  pages.at({name.first, word / Sums::page_blocks}).block.data() +
                      size_t{word % Sums::page_blocks} * sizeof value,
                  sizeof value);
      wanted.ends[next] = value.load();
    }
  }
  co_return Result<>{};
}

Task<Result<>> FrameReader::read(PoolState& pool, bool cached) {
  Wants all;
  for (auto& [name, wanted] : wanted_) {
    wanted.frame = nullptr;
    wanted.bytes = {};
    if (cached && !wanted.packs) wanted.frame = pool.frames.find(name.first, name.second);
    for (Part& part : wanted.parts) part.good = 0;
    all.emplace_back(&name, &wanted);
  }
  LAMINA_CO_TRY(co_await read_indexes(pool, cached));
  LAMINA_CO_TRY(co_await read_frames(pool, std::move(all), cached));
  if (!cached) LAMINA_CO_TRY(co_await search(pool));
  count_found();
  co_return Result<>{};
}

Task<Result<>> FrameReader::read_frames(PoolState& pool, Wants all, bool keeps) {
  auto runs = find_runs(pool, all);
  if (!runs) co_return forward_error(runs);
  IoBatch batch;
  for (Run& run : *runs) {
    const uint64_t first = run.begin / block_size;
    run.blocks = Buffer((div_up(run.end, block_size) - first) * block_size);
    for (const Run::Member& member : run.members)
      member.wanted->bytes =
          run.blocks.span().subspan(member.begin - first * block_size, member.bytes);
    batch.read(run.at.blob->disk(),
               run.at.blob->offset(run.at.name.index, static_cast<uint32_t>(first)),
               run.blocks.span());
  }
  if (!runs->empty()) {
    co_await batch;
    LAMINA_CO_TRY(batch.result());
  }
  Pieces pieces;
  Workers* const workers = all.size() >= worth_workers ? pool.settings.readers : nullptr;
  pieces.start(workers, all.size(),
               [&](size_t at, size_t) { unpack(pool, *all[at].first, *all[at].second, keeps); });
  Completion& done = pieces.done();
  co_await done;
  co_return Result<>{};
}

namespace {

// In the place of what is cached of it.
void put_index(PoolState& pool, Generation generation, std::span<const uint32_t> words) {
  Buffer block(block_size);
  for (uint32_t page = 0; size_t{page} * Sums::page_blocks < words.size(); ++page) {
    const auto of_page = words.subspan(size_t{page} * Sums::page_blocks);
    block.zero();
    for (size_t i = 0; i < std::min<size_t>(of_page.size(), Sums::page_blocks); ++i) {
      le32 word;
      word.store(of_page[i]);
      std::memcpy(block.data() + i * sizeof word, &word, sizeof word);
    }
    pool.sums.forget_page(generation, page);
    pool.sums.put(generation, page, block.span());
  }
}

}  // namespace

// B4: what is not where the index says may be where the frames say themselves.
Task<Result<>> FrameReader::search(PoolState& pool) {
  std::map<Generation, Wants> missing;
  for (auto& [name, wanted] : wanted_)
    if (!wanted.complete()) missing[name.first].emplace_back(&name, &wanted);
  for (auto& [generation, wants] : missing) {
    auto words = co_await find_frames(pool, generation);
    if (!words) co_return forward_error(words);
    put_index(pool, generation, *words);
    std::erase_if(wants, [&](const auto& want) {
      const uint32_t number = want.first->second;
      const std::array<uint32_t, 2> ends{(*words)[number], (*words)[number + 1]};
      return std::exchange(want.second->ends, ends) == ends || ends[0] == 0;
    });
    if (wants.empty()) continue;
    pool.healer.note_segment(generation);  // its index led elsewhere
    LAMINA_CO_TRY(co_await read_frames(pool, std::move(wants), false));
  }
  co_return Result<>{};
}

// Those that are not cached, by their places.
Result<std::list<FrameReader::Run>> FrameReader::find_runs(PoolState& pool, const Wants& all) {
  std::list<Run> runs;
  for (const auto& [name, wanted] : all) {
    if (wanted->frame) continue;
    const auto& [generation, number] = *name;
    const auto at = pool.space.locate({generation, number * frame_blocks});
    if (!at) return fail(Code::io, "a map points at a segment that is not there (A14)");
    const uint64_t begin = uint64_t{wanted->ends[0]} * frame_grain;
    const uint64_t end = uint64_t{wanted->ends[1]} * frame_grain;
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
    wanted->place = {at->name.blob, at->name.index, generation, number};
    runs.back().members.push_back({wanted, begin, end - begin});
  }
  return runs;
}

}  // namespace lamina
