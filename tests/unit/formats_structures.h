// SPDX-License-Identifier: Apache-2.0
// Each kind of metadata in blobs/ as those see it that damage it: a good example, the reader, and
// how to make the checksum fit what was changed.
// Thread-safety: pure functions.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "blobs/block_format.h"
#include "blobs/summary_format.h"
#include "formats_samples.h"

namespace lamina::samples {

inline const MetadataPlace front_place{BlobId{1}, 7, Generation{42}, 3};
inline const MetadataPlace back_place{BlobId{1}, 7, Generation{42}, 2045};
inline const MetadataPlace record_place{BlobId{1}, 7, Generation{42}, record_block};
inline const MetadataPlace slot_place{BlobId{1}, outside_segments, Generation::none, 17};

inline std::vector<std::byte> bytes_of(const Buffer& buffer) {
  return {buffer.span().begin(), buffer.span().end()};
}

// One kind of metadata: a good example, the reader, and how to make a checksum fit again.
struct Structure {
  const char* name;
  std::function<std::vector<std::byte>()> make;
  std::function<Result<>(std::span<const std::byte>)> read;
  std::function<void(std::span<std::byte>)> stamp;
};

template <class T>
Result<> without_value(const Result<T>& result) {
  if (!result) return std::unexpected<Error>(result.error());
  return {};
}

inline void stamp_plain(std::span<std::byte> block) {
  store_block_checksum(block, plain_block_checksum(block));
}
inline void stamp_keyed(std::span<std::byte> block, const MetadataPlace& place) {
  store_block_checksum(block, keyed_block_checksum(block, secret(), place));
}

inline Structure record_structure() {
  return {"Record",
          [] {
            Buffer block(block_size);
            pack_record(record(), secret(), BlobId{1}, 7, block.span());
            return bytes_of(block);
          },
          [](std::span<const std::byte> block) {
            return without_value(unpack_record(block, secret(), segment, record_block));
          },
          [](std::span<std::byte> block) { stamp_keyed(block, record_place); }};
}

inline Structure segment_structure() {
  return {
      "SegmentHeader",
      [] {
        Buffer block(block_size);
        pack_segment_header(segment_header(), block.span());
        return bytes_of(block);
      },
      [](std::span<const std::byte> block) { return without_value(unpack_segment_header(block)); },
      stamp_plain};
}

inline Structure superblock_structure() {
  return {"Superblock",
          [] {
            Buffer block(block_size);
            pack_superblock(superblock(), block.span());
            return bytes_of(block);
          },
          [](std::span<const std::byte> block) { return without_value(unpack_superblock(block)); },
          stamp_plain};
}

inline Structure slot_structure() {
  return {"Slot",
          [] {
            Buffer block(block_size);
            pack_slot(slot(), secret(), BlobId{1}, 17, block.span());
            return bytes_of(block);
          },
          [](std::span<const std::byte> block) {
            return without_value(unpack_slot(block, secret(), BlobId{1}, 17));
          },
          [](std::span<std::byte> block) { stamp_keyed(block, slot_place); }};
}

inline Structure log_mark_structure() {
  return {"LogMark",
          [] {
            Buffer block(block_size);
            pack_log_mark(log_mark(), secret(), BlobId{1}, 17, block.span());
            return bytes_of(block);
          },
          [](std::span<const std::byte> block) {
            return without_value(unpack_log_mark(block, secret(), BlobId{1}, 17));
          },
          [](std::span<std::byte> block) { stamp_keyed(block, slot_place); }};
}

inline void stamp_summary(std::span<std::byte> blocks, bool back) {
  const MetadataPlace& place = back ? back_place : front_place;
  MetadataPlace header_place = place, rest_place = place;
  const auto others = static_cast<uint32_t>(blocks.size() / block_size - 1);
  auto header = blocks.first(block_size), rest = blocks.subspan(block_size);
  if (back) {
    header = blocks.last(block_size), rest = blocks.first(blocks.size() - block_size);
    header_place.block += others;
  } else {
    rest_place.block += 1;
  }
  auto format = load_block<SummaryFormat>(header);
  format.rest_sum.store(keyed_checksum(rest, secret(), rest_place));
  store_block(format, header);
  stamp_keyed(header, header_place);
}

inline Structure summary_structure(bool back) {
  return {back ? "BackSummary" : "FrontSummary",
          [back] {
            Buffer blocks(3 * block_size);
            pack_summary(summary(1000), secret(), back ? back_place : front_place, back,
                         blocks.span());
            return bytes_of(blocks);
          },
          [back](std::span<const std::byte> blocks) {
            return without_value(
                unpack_summary(blocks, secret(), back ? back_place : front_place, back));
          },
          [back](std::span<std::byte> blocks) { stamp_summary(blocks, back); }};
}

}  // namespace lamina::samples
