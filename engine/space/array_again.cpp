// SPDX-License-Identifier: Apache-2.0
#include "engine/space/array_again.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/endian.h"
#include "engine/frame_search.h"
#include "engine/log/seal.h"

namespace lamina {
namespace {

using Bytes = std::span<const std::byte>;

std::vector<uint32_t> words_of(SegmentClass kind, Bytes segment, const Secret& secret,
                               const MetadataPlace& place, const Summary& summary) {
  if (kind == SegmentClass::frames) return search_frames(segment, secret, place);
  const auto blocks = static_cast<uint32_t>(segment.size() / block_size);
  std::vector<uint32_t> words(blocks);
  for (const Entry& entry : summary.entries) {
    if (!has_payload(entry)) continue;
    const uint64_t end = entry.offset + entry.length.value;
    for (uint32_t block = entry.offset; block < std::min<uint64_t>(end, blocks); ++block)
      words[block] = payload_checksum(segment.subspan(size_t{block} * block_size, block_size));
  }
  return words;
}

Buffer array_of(std::vector<uint32_t> words, uint32_t blocks) {
  Buffer array(uint64_t{blocks} * block_size);
  words.resize(std::min(words.size(), array.size() / sizeof(le32)));
  store_sums(words, array.span());
  return array;
}

// `mixed`: of the size of both.
bool with_one_block_of(Bytes array, Bytes other, Buffer& mixed, uint64_t expected) {
  std::memcpy(mixed.data(), array.data(), array.size());
  for (size_t at = 0; at < array.size(); at += block_size) {
    if (std::memcmp(array.data() + at, other.data() + at, block_size) == 0) continue;
    std::memcpy(mixed.data() + at, other.data() + at, block_size);
    if (plain_checksum(mixed.span()) == expected) return true;
    std::memcpy(mixed.data() + at, array.data() + at, block_size);
  }
  return false;
}

}  // namespace

std::optional<Buffer> array_again(SegmentClass kind, Bytes segment, const Secret& secret,
                                  const MetadataPlace& place, const Summary& summary) {
  const auto blocks = static_cast<uint32_t>(segment.size() / block_size);
  const size_t bytes = size_t{array_blocks(kind, blocks)} * block_size;
  const Buffer made =
      array_of(words_of(kind, segment, secret, place, summary), array_blocks(kind, blocks));
  std::vector<Bytes> arrays{made.span()};
  for (const uint32_t at : array_places(summary))
    if (size_t{at} * block_size + bytes <= segment.size())
      arrays.push_back(segment.subspan(size_t{at} * block_size, bytes));
  Buffer found(bytes);
  for (const Bytes array : arrays) {
    if (plain_checksum(array) != summary.checksums_sum) continue;
    std::memcpy(found.data(), array.data(), bytes);
    return found;
  }
  // Each is damaged in blocks of its own: payload counts as the one of the array that covers it.
  for (const Bytes array : arrays)
    for (const Bytes other : arrays)
      if (with_one_block_of(array, other, found, summary.checksums_sum)) return found;
  return std::nullopt;
}

}  // namespace lamina
