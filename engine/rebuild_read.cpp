// SPDX-License-Identifier: Apache-2.0
#include "engine/rebuild_read.h"

#include <cstring>

#include "base/buffer.h"
#include "blobs/frame.h"

namespace lamina {
namespace {

Task<Result<>> read_frame(const ScannedSegment& segment, uint32_t block,
                          std::span<std::byte> into) {
  const SegmentHeader& header = segment.header;
  const uint32_t number = block / frame_blocks;
  if (number + 1 >= segment.sums.size() || !segment.summed[number])
    co_return fail(Code::io, "nothing says where its frame is");
  const uint64_t begin = uint64_t{segment.sums[number]} * frame_grain;
  const uint64_t end = uint64_t{segment.sums[number + 1]} * frame_grain;
  if (begin >= end || end > uint64_t{header.blocks} * block_size)
    co_return fail(Code::io, "the index says nothing of its frame");
  const auto first = static_cast<uint32_t>(begin / block_size);
  Buffer blocks((div_up(end, block_size) - first) * block_size);
  IoBatch batch;
  batch.read(segment.blob->disk(), segment.blob->offset(header.index, first), blocks.span());
  co_await batch;
  LAMINA_CO_TRY(batch.result());
  FrameCodec codec;
  const auto frame =
      codec.decode(blocks.span().subspan(begin % block_size, end - begin), header.secret,
                   {header.blob, header.index, header.generation, number});
  if (!frame) co_return fail(Code::io, frame.error().message);
  const uint32_t in_frame = block % frame_blocks;
  if (in_frame >= frame->blocks() || !frame->good(in_frame))
    co_return fail(Code::io, "the payload does not match its checksum");
  std::memcpy(into.data(), frame->data.data() + size_t{in_frame} * block_size, block_size);
  co_return Result<>{};
}

}  // namespace

Task<Result<>> read_payload(const Scan& scan, Address address, std::span<std::byte> into) {
  const auto found = scan.by_generation.find(address.generation);
  if (found == scan.by_generation.end())
    co_return fail(Code::io, "its segment is not on the medium");
  const ScannedSegment& segment = scan.segments[found->second];
  if (segment.header.kind == SegmentClass::frames) {
    auto task = read_frame(segment, address.block, into);
    co_return co_await task;
  }
  if (address.block >= segment.header.blocks || !segment.summed[address.block])
    co_return fail(Code::io, "nothing says what its checksum is");
  IoBatch batch;
  batch.read(segment.blob->disk(), segment.blob->offset(segment.header.index, address.block), into);
  co_await batch;
  LAMINA_CO_TRY(batch.result());
  if (payload_checksum(into) != segment.sums[address.block])
    co_return fail(Code::io, "the payload does not match its checksum");
  co_return Result<>{};
}

}  // namespace lamina
