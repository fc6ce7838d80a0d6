// SPDX-License-Identifier: Apache-2.0
#include "blobs/segment.h"

#include "blobs/frame.h"
#include "blobs/segment_format.h"

namespace lamina {
namespace {

bool known_kind(SegmentClass kind) {
  return kind >= SegmentClass::log && kind <= SegmentClass::frames;
}

bool valid_size(const SegmentHeader& header) {
  if (header.blocks < min_segment_blocks || header.blocks > max_segment_blocks) return false;
  if (header.front_blocks >= header.blocks) return false;
  const uint32_t begin = payload_begin(header.kind, header.blocks, header.front_blocks);
  if (begin > header.blocks || header.used_end > header.blocks) return false;
  if (header.addressed > 0 && (header.kind != SegmentClass::frames ||
                               header.addressed > header.blocks * uint64_t{virtual_ratio}))
    return false;
  switch (header.state) {
    case SegmentState::open:
      return header.used_end == 0;
    case SegmentState::sealed:
      return header.used_end >= begin;
    case SegmentState::retired:
      return true;  // it may have been opened only, or sealed
  }
  return false;
}

bool valid(const SegmentHeader& header) {
  return known_kind(header.kind) && header.blob != BlobId::none && header.index < max_segments &&
         header.generation != Generation::none && valid_size(header);
}

}  // namespace

void pack_segment_header(const SegmentHeader& header, std::span<std::byte> block) {
  LAMINA_CHECK(valid(header));
  SegmentHeaderFormat format{};
  format.magic = segment_magic;
  format.version.store(format_version);
  format.index.store(header.index);
  format.pool = header.pool;
  format.secret = header.secret;
  format.generation.store(raw(header.generation));
  format.epoch.store(header.epoch);
  format.blocks.store(header.blocks);
  format.front_blocks.store(header.front_blocks);
  format.used_end.store(header.used_end);
  format.blob.store(raw(header.blob));
  format.kind = raw(header.kind);
  format.state = raw(header.state);
  format.wall_ns.store(header.wall_ns);
  format.addressed.store(header.addressed);
  store_block(format, block);
  store_block_checksum(block, plain_block_checksum(block));
}

Result<SegmentHeader> unpack_segment_header(std::span<const std::byte> block) {
  if (!has_magic(block, segment_magic)) return fail(Code::corrupt, "no segment header");
  const auto format = load_block<SegmentHeaderFormat>(block);
  if (format.checksum.load() != plain_block_checksum(block))
    return fail(Code::corrupt, "segment header: the checksum is wrong");
  if (format.version.load() != format_version)
    return fail(Code::unsupported, "segment header: of a format that a newer lamina made");
  SegmentHeader header;
  header.pool = format.pool;
  header.secret = format.secret;
  header.blob = BlobId{format.blob.load()};
  header.index = format.index.load();
  header.generation = Generation{format.generation.load()};
  header.kind = SegmentClass{format.kind};
  header.state = SegmentState{format.state};
  header.epoch = format.epoch.load();
  header.blocks = format.blocks.load();
  header.front_blocks = format.front_blocks.load();
  header.used_end = format.used_end.load();
  header.wall_ns = format.wall_ns.load();
  header.addressed = format.addressed.load();
  if (!all_zero(format.reserved) || !valid(header))
    return fail(Code::corrupt, "segment header: a value is out of range");
  return header;
}

uint32_t array_blocks(SegmentClass kind, uint32_t segment_blocks) {
  constexpr uint32_t sums_per_block = block_size / sizeof(le32);
  switch (kind) {
    case SegmentClass::log:
    case SegmentClass::moved:
      return static_cast<uint32_t>(div_up(segment_blocks, sums_per_block));
    case SegmentClass::frames:
      return frame_index_blocks(segment_blocks);
    case SegmentClass::nodes:
    case SegmentClass::headers:
      return 0;
  }
  return 0;
}

uint32_t second_array_blocks(SegmentClass kind, uint32_t segment_blocks) {
  return kind == SegmentClass::moved ? array_blocks(kind, segment_blocks) : 0;
}

uint32_t payload_begin(SegmentClass kind, uint32_t segment_blocks, uint32_t front_blocks) {
  return 1 + array_blocks(kind, segment_blocks) + front_blocks;
}

}  // namespace lamina
