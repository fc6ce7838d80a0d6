// SPDX-License-Identifier: Apache-2.0
#include "engine/missing_disk.h"

#include <cerrno>
#include <utility>

#include "blobs/layout.h"

namespace lamina {
namespace {

std::shared_ptr<Blob> on_missing_disk(Superblock superblock, uint32_t segment_blocks) {
  superblock.segment_blocks = segment_blocks;
  const uint64_t segments = uint64_t{superblock.segment_count} * segment_blocks * block_size;
  superblock.middle = edge_bytes + segments;
  superblock.size = superblock.middle + 2 * edge_bytes;
  return std::make_shared<Blob>(
      std::make_shared<MissingDisk>("the missing disk of \"" + superblock.blob_name + "\""),
      superblock);
}

}  // namespace

MissingDisk::MissingDisk(std::string name) : name_(std::move(name)) {
  give_up();
}

void MissingDisk::submit(DiskOperation& operation) {
  operation.complete(ENODEV);
}

bool is_missing(const Disk& disk) {
  return dynamic_cast<const MissingDisk*>(&disk) != nullptr;
}

std::shared_ptr<Blob> missing_blob(const SlotMember& member, const Blob& other,
                                   uint32_t segment_blocks) {
  Superblock superblock = other.superblock();
  superblock.blob = member.blob;
  superblock.blob_uuid = member.uuid;
  superblock.blob_name = member.name;
  superblock.kind = member.kind;
  superblock.tier = member.tier;
  superblock.segment_count = member.segment_count;
  superblock.erase_bytes = block_size;
  return on_missing_disk(superblock, segment_blocks);
}

std::shared_ptr<Blob> missing_blob(const Blob& before, uint32_t segment_blocks) {
  return on_missing_disk(before.superblock(), segment_blocks);
}

}  // namespace lamina
