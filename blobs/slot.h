// SPDX-License-Identifier: Apache-2.0
// A checkpoint slot: the one block that makes a checkpoint true. A ring of them lies in two places
// of every journal blob; a checkpoint's number decides its place in the ring.
// Thread-safety: plain values.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "base/result.h"
#include "blobs/record.h"
#include "blobs/superblock.h"

namespace lamina {

// A run of blocks in one segment.
struct SlotExtent {
  SegmentName segment;
  uint32_t block = 0, blocks = 0;
  friend bool operator==(const SlotExtent&, const SlotExtent&) = default;
};

// What a blob is to its pool.
enum class BlobUse : uint8_t {
  serves = 0,   // segments are taken from it
  leaving = 1,  // what is in it goes elsewhere, and nothing is taken from it any more
  failed = 2,   // its disk has failed: nothing is taken from it
};
constexpr uint8_t raw(BlobUse use) {
  return static_cast<uint8_t>(use);
}

const char* name_of(BlobUse use);

struct SlotMember {
  BlobId blob = BlobId::none;
  Uuid uuid{};
  BlobKind kind = BlobKind::journal;
  uint32_t tier = 0;
  uint32_t segment_count = 0;
  BlobUse use = BlobUse::serves;
  std::string name;  // its first slot_name_bytes, for people: a member that is missing has a name
  friend bool operator==(const SlotMember&, const SlotMember&) = default;
};

// (epoch, cut): entries of that epoch with a larger number are void (A3).
struct EpochCut {
  Epoch epoch = 0;
  Sequence cut = 0;
  friend bool operator==(const EpochCut&, const EpochCut&) = default;
};

struct Slot {
  CheckpointNumber number = 0;
  CheckpointNumber oldest_backed = 0;  // older ones must never be recovered from (A13)
  Epoch epoch = 0;                     // in which it was written
  Sequence cut = 0;                    // every entry up to here is in the maps, none after
  bool clean = false;                  // nothing follows in the log: a clean unmount
  // Where roll-forward begins: the place of the first record after the cut, or where it will be.
  SegmentName log_segment{};
  uint32_t log_block = 0;
  SegmentChain log_next{};     // the chain from there
  uint64_t last_checksum = 0;  // of the header of the last record up to the cut; 0 = none
  Sequence durable_through = 0;
  uint32_t generation_mark = 0;  // past all that this epoch can issue until the next slot (A3)
  uint64_t wall_ns = 0;
  // The tables of this checkpoint (devices, node table, segment table, epochs): one stream of
  // bytes, in two copies, each a list of runs in segments of class nodes.
  uint64_t tables_bytes = 0;
  uint64_t tables_checksum = 0;  // plain, of the whole stream
  std::array<std::vector<SlotExtent>, 2> tables;
  std::vector<SlotMember> members;    // every blob of the pool
  std::vector<EpochCut> recent_cuts;  // the newest few; all of them are in the tables
  friend bool operator==(const Slot&, const Slot&) = default;
};

inline constexpr size_t slot_max_extents = 48;  // per copy
inline constexpr size_t slot_max_members = 32;
inline constexpr size_t slot_max_cuts = 16;
inline constexpr size_t slot_name_bytes = 28;

// Fills one block, which will lie at block `disk_block` (modulo 2^32) of the disk of `blob`.
// Asserts what unpack_slot checks: lists within the limits above, runs that have room for
// `tables_bytes` and lie within a segment behind its header, a number that is not 0 nor below
// oldest_backed.
void pack_slot(const Slot& slot, const Secret& secret, BlobId blob, uint32_t disk_block,
               std::span<std::byte> block);
Result<Slot> unpack_slot(std::span<const std::byte> block, const Secret& secret, BlobId blob,
                         uint32_t disk_block);
// The same without looking at the checksum, for people to look at: `place` is what the block itself
// claims. Never to be believed.
Result<Slot> decode_slot(std::span<const std::byte> block, MetadataPlace& place);

}  // namespace lamina
