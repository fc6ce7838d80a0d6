// SPDX-License-Identifier: Apache-2.0
#include "engine/frame_search.h"

#include <algorithm>
#include <cstring>

#include "base/buffer.h"
#include "blobs/frame.h"
#include "blobs/frame_format.h"
#include "blobs/segment.h"
#include "engine/missing_disk.h"
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

Task<Result<std::vector<uint32_t>>> find_frames(PoolState& pool, Generation generation) {
  const auto row = pool.space.segment(generation);
  if (!row || row->kind != SegmentClass::frames)
    co_return fail(Code::io, "a map points at a segment that is not there (A14)");
  Blob& blob = pool.space.blob(row->name.blob);
  // Else each block that is read of it would ask for all blocks of the segment, one by one.
  if (is_missing(blob.disk())) co_return fail(Code::io, "the segment's disk is missing");
  const MetadataPlace place{row->name.blob, row->name.index, generation, 0};
  co_return co_await find_frames(blob, place, pool.identity.secret);
}

// What cannot be read of it is no frame.
Task<Result<std::vector<uint32_t>>> find_frames(const Blob& blob, MetadataPlace place,
                                                Secret secret) {
  Buffer segment(blob.segment_bytes());
  const Result<> read = co_await blob.read_readable(place.segment, segment.span());
  if (!read) co_return fail(Code::io, "the segment cannot be read");
  co_return search_frames(segment.span(), secret, place);
}

}  // namespace lamina
