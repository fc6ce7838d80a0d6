// SPDX-License-Identifier: Apache-2.0
// What the log is made of: a header of one block that describes itself, then payload blocks. Any
// number of small operations share one header. A header repeats the entries and payload checksums
// of the record before it, so that a lost header does not hide which ranges it covered (B1).
// Thread-safety: plain values.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/checksum.h"
#include "base/result.h"
#include "blobs/entry.h"

namespace lamina {

// Where a segment lies and what it is (or will be) called.
struct SegmentName {
  BlobId blob = BlobId::none;
  uint32_t index = 0;
  Generation generation = Generation::none;
  friend bool operator==(const SegmentName&, const SegmentName&) = default;
};

// How many segments a header names that the log will use after its own. The last of what the newest
// durable header names are never written; recovery goes on in one of them (A3, engine/log/chain.h).
// So this also bounds how far the log may run ahead of a flush.
inline constexpr size_t chain_length = 4;
using SegmentChain = std::array<SegmentName, chain_length>;

// What one record says and covers.
struct RecordBody {
  Sequence first = 0;               // number of the first entry; the rest follow densely
  std::vector<Entry> entries;       // never empty
  std::vector<uint32_t> checksums;  // one per payload block, in order
  friend bool operator==(const RecordBody&, const RecordBody&) = default;
};

struct RecordHeader {
  Epoch epoch = 0;
  Address at{};                  // generation of the segment and block of this header in it
  Sequence durable_through = 0;  // every entry up to here was durable when this was written (A2)
  uint64_t wall_ns = 0;
  SegmentChain next{};  // the segments that the log will use after this (A3)
  CheckpointNumber newest_checkpoint = 0, oldest_backed = 0;  // committed and still backed (A13)
  // The first record of an epoch cuts the one before it: entries of older epochs past
  // `cut_sequence` are void, and `cut_checksum` is the checksum of the last accepted header.
  bool starts_epoch = false;
  Sequence cut_sequence = 0;
  uint64_t cut_checksum = 0;
  RecordBody body;
  Address previous_at{};  // where the record before this one lies; none in the first of an epoch
  RecordBody previous;    // what it covered; empty likewise

  uint32_t payload_blocks() const { return static_cast<uint32_t>(body.checksums.size()); }
  Sequence last() const { return body.first + body.entries.size() - 1; }
  friend bool operator==(const RecordHeader&, const RecordHeader&) = default;
};

// Bytes of entries and checksums that one record may have, so that the next header can repeat
// them beside as many of its own.
extern const size_t record_body_limit;
// Bytes that `entries` packed and `payload_blocks` checksums take of that limit.
size_t record_body_bytes(size_t packed_entries, size_t payload_blocks);

// Fills one block and returns its checksum. Asserts that both bodies are within the limit, and what
// unpack_record checks: entries dense from `first`; payload within the blocks right behind the
// header; durable_through and cut_sequence below `first`; no cut unless it starts an epoch;
// oldest_backed <= newest_checkpoint; a `next` without a blob is all none.
uint64_t pack_record(const RecordHeader& header, const Secret& secret, BlobId blob, uint32_t index,
                     std::span<std::byte> block);

struct UnpackedRecord {
  RecordHeader header;
  uint64_t checksum = 0;
};
// Error corrupt: no record of this pool, segment, generation and block is here.
Result<UnpackedRecord> unpack_record(std::span<const std::byte> block, const Secret& secret,
                                     const SegmentName& segment, uint32_t block_in_segment);
// The same without looking at the checksum, for people to look at: `segment` is what the block
// itself claims. Never to be believed.
Result<UnpackedRecord> decode_record(std::span<const std::byte> block, SegmentName& segment);

}  // namespace lamina
