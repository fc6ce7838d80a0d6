// SPDX-License-Identifier: Apache-2.0
#include "engine/frame_search.h"

#include <algorithm>
#include <cstring>

#include "base/buffer.h"
#include "base/endian.h"
#include "blobs/frame.h"
#include "blobs/frame_format.h"
#include "blobs/segment.h"
#include "engine/pool_state.h"

namespace lamina {

std::vector<uint32_t> search_frames(std::span<const std::byte> segment, const Secret& secret,
                                    MetadataPlace place) {
  const auto blocks = static_cast<uint32_t>(segment.size() / block_size);
  std::vector<uint32_t> words(addresses_end(blocks) / frame_blocks + 1);
  const size_t begin = size_t{payload_begin(SegmentClass::frames, blocks, 0)} * block_size;
  for (size_t at = begin; at + sizeof(FrameFormat) <= segment.size();) {
    FrameFormat format;
    std::memcpy(&format, segment.data() + at, sizeof format);
    place.block = format.frame.load();
    size_t length = 0;
    if (format.magic == frame_magic && place.block > 0 && place.block + 1 < words.size())
      length = frame_length(segment.subspan(at), secret, place).value_or(0);
    if (length == 0) {
      at += frame_grain;
      continue;
    }
    words[place.block] = static_cast<uint32_t>(at / frame_grain);
    at += length;
    words[place.block + 1] = static_cast<uint32_t>(at / frame_grain);
  }
  return words;
}

Task<Result<>> read_frame_places(PoolState& pool, Generation generation) {
  const auto row = pool.space.segment(generation);
  if (!row || row->kind != SegmentClass::frames)
    co_return fail(Code::not_found, "no segment of frames");
  Blob& blob = pool.space.blob(row->name.blob);
  Buffer segment(blob.segment_bytes());
  LAMINA_CO_TRY(co_await blob.read_segment(row->name.index, segment.span()));
  const auto words = search_frames(segment.span(), pool.identity.secret,
                                   {row->name.blob, row->name.index, generation, 0});
  if (std::all_of(words.begin(), words.end(), [](uint32_t word) { return word == 0; }))
    co_return fail(Code::not_found, "no frame is left in the segment");
  Buffer pages(uint64_t{array_blocks(row->kind, blob.segment_blocks())} * block_size);
  pages.zero();
  for (size_t i = 0; i < words.size() && (i + 1) * sizeof(le32) <= pages.size(); ++i) {
    le32 word;
    word.store(words[i]);
    std::memcpy(pages.data() + i * sizeof word, &word, sizeof word);
  }
  for (uint32_t page = 0; page < pages.size() / block_size; ++page) {
    pool.sums.forget_page(generation, page);
    pool.sums.put(generation, page, pages.blocks(page, 1));
  }
  co_return Result<>{};
}

}  // namespace lamina
