// SPDX-License-Identifier: Apache-2.0
#include "harm.h"

#include <algorithm>

#include "blobs/record.h"
#include "blobs/segment.h"
#include "blobs/summary.h"

namespace lamina::sim {
namespace {

using FoundDisk = PoolMachine::FoundDisk;

struct InUse {
  SimMedium* medium = nullptr;
  uint64_t offset = 0;
  SegmentHeader header;
};

void spoil(SimMedium& medium, uint64_t offset, uint64_t bytes, std::mt19937_64& random) {
  Buffer noise(bytes);
  const bool zeroes = random() % 2;
  for (std::byte& byte : noise.span())
    byte = zeroes ? std::byte{} : static_cast<std::byte>(random());
  medium.damage(offset, noise.span());
}

// What holds data, sealed or, of the log, not.
std::vector<InUse> segments_with_data(const std::vector<FoundDisk>& disks) {
  std::vector<InUse> out;
  Buffer block(block_size);
  for (const FoundDisk& disk : disks) {
    const Blob blob(nullptr, disk.superblock);  // for its geometry
    for (uint32_t index = 0; index < blob.segment_count(); ++index) {
      disk.medium->read(blob.offset(index, 0), block.span());
      const auto header = unpack_segment_header(block.span());
      if (!header || header->state == SegmentState::retired || header->kind == SegmentClass::nodes)
        continue;
      out.push_back({disk.medium.get(), blob.offset(index, 0), *header});
    }
  }
  return out;
}

void destroy_segment(const InUse& segment, std::mt19937_64& random) {
  spoil(*segment.medium, segment.offset, uint64_t{segment.header.blocks} * block_size, random);
}

uint32_t second_array_of(const InUse& segment) {
  Buffer last(block_size);
  segment.medium->read(segment.offset + uint64_t{segment.header.blocks - 1} * block_size,
                       last.span());
  const auto head = decode_summary_head(last.span());
  return head ? head->summary.second_array : 0;
}

// The array, or both copies of it, and some of what it is of.
void destroy_array(const InUse& segment, std::mt19937_64& random) {
  const SegmentHeader& header = segment.header;
  const uint32_t arrays = array_blocks(header.kind, header.blocks);
  if (arrays == 0 || header.state != SegmentState::sealed) return;
  const uint64_t block = random() % arrays;
  spoil(*segment.medium, segment.offset + (1 + block) * block_size, block_size, random);
  const uint32_t second = second_array_of(segment);
  if (second != 0 && random() % 2 == 0)
    spoil(*segment.medium, segment.offset + (second + block) * block_size, block_size, random);
  const uint32_t begin = payload_begin(header.kind, header.blocks, header.front_blocks);
  if (random() % 3 == 0 || header.used_end <= begin) return;
  const uint64_t of = begin + random() % (header.used_end - begin);
  spoil(*segment.medium, segment.offset + of * block_size, block_size, random);
}

// Some blocks in a row of it.
void destroy_stretch(const InUse& segment, std::mt19937_64& random) {
  const uint64_t begin = random() % segment.header.blocks;
  const uint64_t count = std::min<uint64_t>(1 + random() % 8, segment.header.blocks - begin);
  spoil(*segment.medium, segment.offset + begin * block_size, count * block_size, random);
}

// Not one without which there is no log.
std::optional<size_t> dead_disk(const std::vector<FoundDisk>& disks, std::mt19937_64& random) {
  const size_t chosen = random() % disks.size();
  for (size_t i = 0; i < disks.size(); ++i)
    if (i != chosen && disks[i].superblock.kind == BlobKind::journal &&
        disks[i].superblock.tier == 0)
      return chosen;
  return std::nullopt;
}

}  // namespace

Harm do_harm(const std::vector<FoundDisk>& disks, std::mt19937_64& random) {
  Harm harm;
  harm.nodes = random() % 2;
  const unsigned kind = random() % 8;
  if (kind == 0) harm.disk = dead_disk(disks, random);
  if (harm.disk) {
    harm.any = true;
    harm.nodes = false;
    const FoundDisk& disk = disks[*harm.disk];
    spoil(*disk.medium, 0, round_down(disk.medium->size(), block_size), random);
    return harm;
  }
  if (kind < 1 || kind > 3) {
    harm.nodes = true;
    return harm;
  }
  const std::vector<InUse> segments = segments_with_data(disks);
  if (segments.empty()) return harm;
  harm.any = true;
  for (uint64_t count = 1 + random() % 3; count > 0; --count) {
    const InUse& segment = segments[random() % segments.size()];
    if (kind == 1) destroy_segment(segment, random);
    if (kind == 2) destroy_array(segment, random);
    if (kind == 3) destroy_stretch(segment, random);
  }
  return harm;
}

}  // namespace lamina::sim
