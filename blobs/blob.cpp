// SPDX-License-Identifier: Apache-2.0
#include "blobs/blob.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/buffer.h"
#include "base/check.h"
#include "blobs/segment_format.h"

namespace lamina {
namespace {

constexpr uint64_t default_segment_bytes = 8 * mib;
constexpr uint64_t min_segment_bytes = uint64_t{min_segment_blocks} * block_size;
constexpr uint64_t max_segment_bytes = uint64_t{max_segment_blocks} * block_size;
constexpr uint32_t wanted_segments = 128;  // at least, where the segment size is chosen (D5)
constexpr uint32_t fewest_segments = 16;   // where somebody asked for a size
constexpr uint64_t max_erase_bytes = 64 * mib;
constexpr uint64_t segment_request = mib;  // of one request, where a segment is read whole

// What there is to align to: erase sizes that cannot be meant are ignored (E12).
uint64_t sensible_erase(uint64_t erase_bytes) {
  if (erase_bytes < block_size || erase_bytes > max_erase_bytes) return block_size;
  return erase_bytes % block_size == 0 ? erase_bytes : block_size;
}

// Segments that are not whole erase units gain nothing from lying at a multiple of one.
uint64_t alignment(uint64_t segment_bytes, uint64_t erase_bytes) {
  return segment_bytes % erase_bytes == 0 ? erase_bytes : block_size;
}

// `bytes` as a multiple of the erase size, unless that would more than double it.
uint64_t whole_erases(uint64_t bytes, uint64_t erase_bytes) {
  const uint64_t whole = round_up(bytes, erase_bytes);
  return whole <= 2 * bytes ? whole : bytes;
}

uint32_t segments_of(uint64_t size, uint64_t segment_bytes, uint64_t erase_bytes) {
  return Layout::fresh(size, segment_bytes, alignment(segment_bytes, erase_bytes)).segment_count;
}

uint64_t choose_segment_bytes(uint64_t size, uint64_t erase_bytes) {
  uint64_t grain = default_segment_bytes;
  // An erase size above the default is worth larger segments only where there are enough of them.
  while (grain < erase_bytes &&
         segments_of(size, round_up(2 * grain, erase_bytes), erase_bytes) >= wanted_segments)
    grain *= 2;
  while (grain > min_segment_bytes &&
         segments_of(size, whole_erases(grain, erase_bytes), erase_bytes) < wanted_segments)
    grain /= 2;
  while (grain < max_segment_bytes &&
         segments_of(size, whole_erases(grain, erase_bytes), erase_bytes) > max_formatted_segments)
    grain *= 2;
  const uint64_t whole = whole_erases(grain, erase_bytes);
  return segments_of(size, whole, erase_bytes) >= wanted_segments ? whole : grain;
}

Result<> check_segment_bytes(uint64_t bytes) {
  if (bytes >= min_segment_bytes && bytes <= max_segment_bytes && bytes % block_size == 0)
    return {};
  return fail(Code::invalid, "a segment is 256 KiB to 4 GiB, in whole blocks of 4 KiB, not " +
                                 std::to_string(bytes) + " bytes");
}

Result<> check_segment_count(uint32_t count) {
  if (count > max_formatted_segments)
    return fail(Code::too_big, "more than 2^18 segments: use larger ones");
  if (count < fewest_segments)
    return fail(Code::invalid,
                "only " + std::to_string(count) + " segments: a blob needs 16, use smaller ones");
  return {};
}

Layout layout_of(const Superblock& superblock, uint64_t size) {
  return Layout::of(size, superblock.middle, uint64_t{superblock.segment_blocks} * block_size,
                    superblock.erase_bytes);
}

}  // namespace

Result<Blob::Geometry> Blob::plan(uint64_t size, uint64_t segment_bytes, uint64_t erase_bytes) {
  if (size < min_blob_bytes)
    return fail(Code::no_space, "a blob needs at least 64 MiB, this has only " +
                                    std::to_string(size / kib) + " KiB");
  if (size > max_formatted_segments * max_segment_bytes)
    return fail(Code::too_big, "a blob has at most 1 PiB");
  const uint64_t erase = sensible_erase(erase_bytes);
  if (segment_bytes == 0) segment_bytes = choose_segment_bytes(size, erase);
  LAMINA_TRY(check_segment_bytes(segment_bytes));
  const uint64_t aligned_to = alignment(segment_bytes, erase);
  const Layout layout = Layout::fresh(size, segment_bytes, aligned_to);
  LAMINA_TRY(check_segment_count(layout.segment_count));
  Geometry geometry;
  geometry.size = layout.size;
  geometry.middle = layout.middle;
  geometry.segment_blocks = static_cast<uint32_t>(segment_bytes / block_size);
  geometry.segment_count = layout.segment_count;
  geometry.erase_bytes = static_cast<uint32_t>(aligned_to);
  return geometry;
}

Result<Superblock> Blob::grown(const Superblock& superblock, uint64_t size) {
  size = round_down(size, block_size);
  if (size < superblock.size)
    return fail(Code::invalid, "the disk has become smaller: " + std::to_string(size) +
                                   " bytes, the blob on it has " + std::to_string(superblock.size));
  Superblock larger = superblock;
  larger.size = size;
  larger.segment_count = std::min(layout_of(superblock, size).segment_count, max_segments);
  return larger;
}

Blob::Blob(std::shared_ptr<Disk> disk, Superblock superblock) : disk_(std::move(disk)) {
  take_shape(std::move(superblock));
}

void Blob::take_shape(Superblock superblock) {
  const Layout layout = layout_of(superblock, superblock.size);
  LAMINA_CHECK(superblock.segment_count > 0);
  LAMINA_CHECK(superblock.segment_count <= layout.segment_count);
  shapes_.push_back(std::make_unique<const Shape>(Shape{std::move(superblock), layout}));
  shape_.store(shapes_.back().get(), std::memory_order_release);
}

uint64_t Blob::offset(uint32_t segment, uint32_t block) const {
  const auto& [superblock, layout] = shape();
  LAMINA_CHECK(segment < superblock.segment_count && block < superblock.segment_blocks);
  const uint64_t begin = layout.offset(segment), end = begin + segment_bytes();
  // Payload where a superblock copy is, or where blkid looks, would be believed (B7).
  LAMINA_CHECK(begin >= edge_bytes && end <= layout.size - edge_bytes);
  LAMINA_CHECK(end <= layout.middle || begin >= layout.middle_end);
  return begin + uint64_t{block} * block_size;
}

std::array<uint64_t, superblock_copies> Blob::superblock_offsets() const {
  return shape().layout.superblock_offsets();
}

namespace {

// The slots of the ring, and behind them the log's mark; in both edges.
std::array<uint64_t, 2> in_edges(const Layout& layout, uint64_t place) {
  const uint64_t in_edge = slot_ring_offset + place * block_size;
  return {in_edge, layout.size - edge_bytes + in_edge};
}

}  // namespace

std::array<uint64_t, 2> Blob::slot_offsets(CheckpointNumber number) const {
  return in_edges(shape().layout, number % slot_ring_length);
}

std::array<uint64_t, 2> Blob::log_mark_offsets() const {
  return in_edges(shape().layout, slot_ring_length);
}

Blob::Access Blob::alone() {
  return {.flush = [this]() -> Task<Result<>> {
    IoBatch batch;
    batch.flush(*disk_);
    co_await batch;
    co_return batch.result();
  }};
}

Task<Result<>> Blob::wipe(Access access) {
  Buffer zeroes(edge_bytes);
  zeroes.zero();
  IoBatch batch;
  batch.write(*disk_, 0, zeroes.span());
  batch.write(*disk_, superblock().middle, zeroes.blocks(0, 1));
  batch.write(*disk_, superblock().size - edge_bytes, zeroes.span());
  access.wrote(2 * edge_bytes + block_size);
  co_await batch;
  LAMINA_CO_TRY(batch.result());
  Task<Result<>> flushing = access.flush();
  co_return co_await flushing;
}

Task<Result<>> Blob::write_superblocks(Access access) {
  LAMINA_CHECK(!needs_read_only(superblock()));
  Buffer block(block_size);
  pack_superblock(superblock(), block.span());
  const auto offsets = superblock_offsets();
  // The first copy last: until the others are durable a power cut may tear what is being written.
  access.wrote(superblock_copies * block_size);
  IoBatch batch;
  for (size_t i = 1; i < offsets.size(); ++i) batch.write(*disk_, offsets[i], block.span());
  co_await batch;
  LAMINA_CO_TRY(batch.result());
  Task<Result<>> others = access.flush();
  LAMINA_CO_TRY(co_await others);
  batch.write(*disk_, offsets[0], block.span());
  co_await batch;
  LAMINA_CO_TRY(batch.result());
  Task<Result<>> first = access.flush();
  co_return co_await first;
}

void Blob::Geometry::write_to(Superblock& superblock) const {
  superblock.size = size;
  superblock.middle = middle;
  superblock.segment_blocks = segment_blocks;
  superblock.segment_count = segment_count;
  superblock.erase_bytes = erase_bytes;
}

Task<Result<>> Blob::read_segment(uint32_t segment, std::span<std::byte> into) const {
  LAMINA_CHECK(into.size() == segment_bytes());
  IoBatch batch;
  for (uint64_t at = 0; at < into.size(); at += segment_request)
    batch.read(disk(), offset(segment, static_cast<uint32_t>(at / block_size)),
               into.subspan(at, std::min<uint64_t>(segment_request, into.size() - at)));
  co_await batch;
  co_return batch.result();
}

Task<Result<>> Blob::read_readable(uint32_t segment, std::span<std::byte> into) const {
  const Result<> whole = co_await read_segment(segment, into);
  bool any = whole.has_value();
  for (uint32_t block = 0; !whole && block < segment_blocks(); ++block) {
    const auto bytes = into.subspan(uint64_t{block} * block_size, block_size);
    IoBatch batch;
    batch.read(disk(), offset(segment, block), bytes);
    co_await batch;
    any = any || batch.ok();
    if (!batch.ok()) std::memset(bytes.data(), 0, bytes.size());
  }
  co_return any ? Result<>() : whole;
}

}  // namespace lamina
