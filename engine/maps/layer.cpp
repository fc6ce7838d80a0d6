// SPDX-License-Identifier: Apache-2.0
#include "engine/maps/layer.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace lamina {
namespace {

// What the allocator adds to a piece of memory.
constexpr size_t allocation_overhead = 16;

constexpr size_t extents_a_line = 64 / sizeof(Extent);  // of the processor's cache

// What replaces a run of extents, neighbours merged. Nearly always a handful, so it starts on the
// stack; a zero over much that was written can need many.
class Pieces {
 public:
  void add(const Extent& extent) {
    if (count_ > 0 && continues(data()[count_ - 1], extent)) {
      data()[count_ - 1].end = extent.end;
      return;
    }
    if (count_ == few_.size() && many_.empty()) many_.assign(few_.begin(), few_.end());
    if (many_.empty())
      few_[count_] = extent;
    else
      many_.push_back(extent);
    ++count_;
  }
  Extent* data() { return many_.empty() ? few_.data() : many_.data(); }
  size_t size() const { return count_; }

 private:
  std::array<Extent, 6> few_;
  std::vector<Extent> many_;
  size_t count_ = 0;
};

// How many of the first `count` places satisfy a condition that none does after the first that does
// not. A binary search without branches: here every one of them would be a guess.
template <class Condition>
size_t count_while(size_t count, Condition condition) {
  size_t base = 0;
  while (count > 1) {
    const size_t half = count / 2;
    base += half * static_cast<size_t>(condition(base + half - 1));
    count -= half;
  }
  return base + static_cast<size_t>(count == 1 && condition(base));
}

bool written(const Extent& extent) {
  return extent.kind != ExtentKind::zero || extent.certain;
}

uint64_t data_blocks_in(const Extent* extents, size_t count) {
  uint64_t blocks = 0;
  for (size_t i = 0; i < count; ++i)
    if (extents[i].stored()) blocks += extents[i].length().value;
  return blocks;
}

// One zero cut into what covers `old`, where the layer knows that something was written, and what
// leads up to it.
void add_zero_over(const Extent& zero, DeviceBlock& done, const Extent& old, Pieces& pieces) {
  if (!written(old)) return;
  const DeviceBlock begin = std::max(old.begin, done), end = std::min(old.end, zero.end);
  if (begin > done) pieces.add(clip(zero, done, begin));
  Extent certain = clip(zero, begin, end);
  certain.certain = true;
  pieces.add(certain);
  done = end;
}

}  // namespace

Layer::Position Layer::next(Position p) const {
  if (++p.index == chunks_[p.chunk].size()) p = {p.chunk + 1, 0};
  return p;
}

Layer::Position Layer::previous(Position p) const {
  if (p.index > 0) return {p.chunk, p.index - 1};
  LAMINA_CHECK(p.chunk > 0);
  return {p.chunk - 1, chunks_[p.chunk - 1].size() - 1};
}

Layer::Position Layer::first_ending_after(DeviceBlock block) const {
  const size_t above = count_while(firsts_.size(), [&](size_t i) { return firsts_[i] <= block; });
  if (above == 0) return {0, 0};
  const Chunk& extents = chunks_[above - 1];
  // All of it at once: the search would wait for memory at each of its steps, and an insertion
  // moves half of it anyway. Measured, with 300,000 extents: 460 ns an insertion instead of 750.
  for (size_t i = 0; i < extents.size(); i += extents_a_line) __builtin_prefetch(&extents[i]);
  const size_t index =
      count_while(extents.size(), [&](size_t i) { return extents[i].end <= block; });
  if (index == extents.size()) return {above, 0};
  return {above - 1, index};
}

void Layer::insert(const Extent& extent) {
  LAMINA_CHECK(extent.begin < extent.end);
  const bool split_zero = extent.kind == ExtentKind::zero && !extent.certain;
  Position from = first_ending_after(extent.begin), to = from;
  Pieces pieces;

  if (!at_end(from) && at(from).begin < extent.begin) {
    pieces.add(clip(at(from), at(from).begin, extent.begin));
  } else if (from.chunk + from.index > 0) {
    const Position before = previous(from);
    if (at(before).end == extent.begin && (split_zero || continues(at(before), extent))) {
      pieces.add(at(before));
      from = before;
    }
  }

  DeviceBlock done = extent.begin;  // up to where `extent` is in the pieces
  Extent rest{};                    // of the last extent that reaches past `extent`
  for (; !at_end(to) && at(to).begin < extent.end; to = next(to)) {
    if (split_zero) add_zero_over(extent, done, at(to), pieces);
    if (at(to).end > extent.end) rest = clip(at(to), extent.end, at(to).end);
  }
  if (done < extent.end) pieces.add(clip(extent, done, extent.end));
  if (rest.begin < rest.end) {
    pieces.add(rest);
  } else if (!at_end(to) && at(to).begin == extent.end &&
             (split_zero || continues(extent, at(to)))) {
    pieces.add(at(to));
    to = next(to);
  }
  replace(from, to, pieces.data(), pieces.size());
}

// Puts `count` pieces in the place of [from, to).
void Layer::replace(Position from, Position to, const Extent* pieces, size_t count) {
  if (chunks_.empty()) {
    chunks_.emplace_back();
    firsts_.push_back(pieces[0].begin);
    allocated_ += allocation_overhead;
    from = to = {0, 0};
  } else if (from.index == 0 && from.chunk > 0 && from == to) {
    // At the seam of two chunks: goes to the end of the left one.
    from = to = {from.chunk - 1, chunks_[from.chunk - 1].size()};
  }
  if (to.chunk > from.chunk) {
    // The tail of the first chunk, whole ones, and the head of the last.
    if (to.index > 0) splice(to.chunk, 0, to.index, nullptr, 0);
    for (size_t c = from.chunk + 1; c < to.chunk; ++c) {
      extents_ -= chunks_[c].size();
      data_blocks_ -= data_blocks_in(chunks_[c].data(), chunks_[c].size());
    }
    erase_chunks(from.chunk + 1, to.chunk);
    to = {from.chunk, chunks_[from.chunk].size()};
  }
  const bool appending = from.chunk + 1 == chunks_.size() && to.index == chunks_[from.chunk].size();
  const bool shrinks = to.index - from.index > count;
  splice(from.chunk, from.index, to.index, pieces, count);

  const size_t chunk = from.chunk;
  if (chunks_[chunk].size() > chunk_limit) {
    split(chunk, appending);
  } else if (shrinks && chunk + 1 < chunks_.size() &&
             chunks_[chunk].size() + chunks_[chunk + 1].size() <= chunk_limit / 2) {
    const Chunk right = chunks_[chunk + 1];
    extents_ -= right.size();
    data_blocks_ -= data_blocks_in(right.data(), right.size());
    erase_chunks(chunk + 1, chunk + 2);
    splice(chunk, chunks_[chunk].size(), chunks_[chunk].size(), right.data(), right.size());
  }
}

// Inside one chunk: [from, to) becomes the pieces.
void Layer::splice(size_t chunk, size_t from, size_t to, const Extent* pieces, size_t count) {
  Chunk& extents = chunks_[chunk];
  const size_t size = extents.size() - (to - from) + count;
  data_blocks_ += data_blocks_in(pieces, count);
  data_blocks_ -= data_blocks_in(extents.data() + from, to - from);
  if (size > extents.capacity()) resize_chunk(extents, round_up(size, chunk_step));
  const size_t overwritten = std::min(count, to - from);
  std::copy_n(pieces, overwritten, extents.data() + from);
  const auto place = extents.begin() + static_cast<ptrdiff_t>(from + overwritten);
  if (count > overwritten)
    extents.insert(place, pieces + overwritten, pieces + count);
  else
    extents.erase(place, extents.begin() + static_cast<ptrdiff_t>(to));
  extents_ += count;
  extents_ -= to - from;
  if (extents.capacity() >= size + 4 * chunk_step)
    resize_chunk(extents, round_up(size, chunk_step));
  if (!extents.empty()) firsts_[chunk] = extents.front().begin;
}

// Cuts a chunk that has grown past the limit. Appending leaves full chunks behind.
void Layer::split(size_t chunk, bool appending) {
  Chunk all = std::move(chunks_[chunk]);
  allocated_ -= all.capacity() * sizeof(Extent) + allocation_overhead;
  const size_t parts = div_up(all.size(), chunk_limit);
  const auto at = static_cast<ptrdiff_t>(chunk);
  chunks_.insert(chunks_.begin() + at + 1, parts - 1, Chunk{});
  firsts_.insert(firsts_.begin() + at + 1, parts - 1, DeviceBlock{});
  size_t taken = 0;
  for (size_t p = 0; p < parts; ++p) {
    const size_t left = all.size() - taken, remaining = parts - p;
    const size_t share = appending ? std::min(left, chunk_limit) : div_up(left, remaining);
    Chunk part;
    part.reserve(round_up(share, chunk_step));
    part.assign(all.begin() + static_cast<ptrdiff_t>(taken),
                all.begin() + static_cast<ptrdiff_t>(taken + share));
    allocated_ += part.capacity() * sizeof(Extent) + allocation_overhead;
    firsts_[chunk + p] = part.front().begin;
    chunks_[chunk + p] = std::move(part);
    taken += share;
  }
}

void Layer::erase_chunks(size_t from, size_t to) {
  for (size_t c = from; c < to; ++c)
    allocated_ -= chunks_[c].capacity() * sizeof(Extent) + allocation_overhead;
  const auto first = static_cast<ptrdiff_t>(from), last = static_cast<ptrdiff_t>(to);
  chunks_.erase(chunks_.begin() + first, chunks_.begin() + last);
  firsts_.erase(firsts_.begin() + first, firsts_.begin() + last);
}

void Layer::resize_chunk(Chunk& chunk, size_t capacity) {
  Chunk other;
  other.reserve(capacity);
  other.assign(chunk.begin(), chunk.end());
  allocated_ += (other.capacity() - chunk.capacity()) * sizeof(Extent);
  chunk.swap(other);
}

void Layer::lookup(BlockRange range, std::vector<Extent>& out) const {
  if (range.empty()) return;
  for (Position p = first_ending_after(range.begin); !at_end(p) && at(p).begin < range.end;
       p = next(p))
    out.push_back(clip(at(p), range.begin, range.end));
}

BlockCount Layer::swap_address(BlockRange range, Address from, Address to) {
  std::vector<Extent> found;
  lookup(range, found);
  BlockCount moved{};
  for (Extent& extent : found) {
    const BlockCount offset = extent.begin - range.begin;
    if (extent.kind != ExtentKind::data || extent.address != from + offset) continue;
    extent.address = to + offset;
    insert(extent);
    moved = moved + extent.length();
  }
  return moved;
}

BlockCount Layer::swap_home(BlockRange range, Generation from, Generation to) {
  std::vector<Extent> found;
  lookup(range, found);
  BlockCount changed{};
  for (Extent& extent : found) {
    if ((extent.kind == ExtentKind::data && !extent.alias) || extent.home != from) continue;
    extent.home = to;
    insert(extent);
    changed = changed + extent.length();
  }
  return changed;
}

size_t Layer::bytes() const {
  return allocated_ + firsts_.capacity() * sizeof(DeviceBlock) +
         chunks_.capacity() * sizeof(Chunk) + sizeof *this;
}

}  // namespace lamina
