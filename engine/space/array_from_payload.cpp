// SPDX-License-Identifier: Apache-2.0
#include "engine/space/array_from_payload.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/endian.h"
#include "blobs/summary.h"
#include "engine/frame_search.h"

namespace lamina {
namespace {

std::vector<uint32_t> words_of(SegmentClass kind, std::span<const std::byte> segment,
                               const Secret& secret, MetadataPlace place, uint32_t used_end) {
  if (kind == SegmentClass::frames) return search_frames(segment, secret, place);
  const auto blocks = static_cast<uint32_t>(segment.size() / block_size);
  std::vector<uint32_t> words(blocks);
  // The front summary says where payload begins; a segment of it may say so at one place only.
  place.block = 1 + array_blocks(kind, blocks);
  const size_t front_at = size_t{place.block} * block_size;
  const auto header = unpack_segment_header(segment.first(block_size));
  uint32_t begin = header && header->generation == place.generation
                       ? payload_begin(kind, blocks, header->front_blocks)
                       : blocks;
  if (begin == blocks)
    if (const auto front =
            front_summary_blocks(segment.subspan(front_at, block_size), secret, place))
      begin = payload_begin(kind, blocks, *front);
  for (uint32_t block = begin; block < std::min(used_end, blocks); ++block)
    words[block] = payload_checksum(segment.subspan(size_t{block} * block_size, block_size));
  return words;
}

}  // namespace

std::optional<Buffer> array_from_payload(SegmentClass kind, std::span<const std::byte> segment,
                                         const Secret& secret, const MetadataPlace& place,
                                         uint32_t used_end, uint64_t expected) {
  const auto blocks = static_cast<uint32_t>(segment.size() / block_size);
  const uint32_t count = array_blocks(kind, blocks);
  const std::vector<uint32_t> words = words_of(kind, segment, secret, place, used_end);
  Buffer made(uint64_t{count} * block_size), mixed(made.size());
  made.zero();
  for (size_t i = 0; i < words.size() && (i + 1) * sizeof(le32) <= made.size(); ++i) {
    le32 word;
    word.store(words[i]);
    std::memcpy(made.data() + i * sizeof word, &word, sizeof word);
  }
  if (plain_checksum(made.span()) == expected) return made;
  // Payload is damaged as well, in the range of another block of the array.
  for (uint32_t page = 0; page < count; ++page) {
    std::memcpy(mixed.data(), segment.data() + block_size, mixed.size());
    std::memcpy(mixed.data() + size_t{page} * block_size, made.data() + size_t{page} * block_size,
                block_size);
    if (plain_checksum(mixed.span()) == expected) return mixed;
  }
  return std::nullopt;
}

}  // namespace lamina
