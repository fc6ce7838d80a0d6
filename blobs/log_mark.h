// SPDX-License-Identifier: Apache-2.0
// How far the log was durable, said in a place that is not in the log: so that damage to its end is
// not taken for what a crash left of it (B5). It lies behind both slot rings of every journal blob
// (Blob::log_mark_offsets) and is written over itself, without a flush: a crash may leave an older
// one, or none, and either is true. Of the newest entries it repeats those that would take more
// with them than their own blocks: what makes, names, resizes and removes devices and maps, forks,
// shares, and attributes. Without a zero, or a reservation, a repair has older data, which it
// doubts.
// Thread-safety: plain values.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/checksum.h"
#include "base/result.h"
#include "base/units.h"
#include "blobs/entry.h"

namespace lamina {

struct LogMark {
  Epoch epoch = 0;               // of the log then
  Sequence durable_through = 0;  // every entry up to here was durable; not 0
  uint64_t wall_ns = 0;
  std::vector<Entry> repeated;  // in the order of their numbers, all up to durable_through
  friend bool operator==(const LogMark&, const LogMark&) = default;
};

// Whether a mark repeats such an entry, if it has room: it is whole without payload.
bool is_repeated(const Entry& entry);
// Bytes of packed entries that a mark has room for, and what an entry takes of them at the most.
extern const size_t log_mark_room;
size_t bytes_in_log_mark(const Entry& entry);

// Fills one block, which will lie at block `disk_block` (modulo 2^32) of the disk of `blob`. Asserts
// what unpack_log_mark checks, and that the entries fit.
void pack_log_mark(const LogMark& mark, const Secret& secret, BlobId blob, uint32_t disk_block,
                   std::span<std::byte> block);
// Errors: corrupt, no mark of this pool and place is here; unsupported, a newer format.
Result<LogMark> unpack_log_mark(std::span<const std::byte> block, const Secret& secret, BlobId blob,
                                uint32_t disk_block);
// The same without looking at the checksum, for people to look at: `place` is what the block itself
// claims. Never to be believed.
Result<LogMark> decode_log_mark(std::span<const std::byte> block, MetadataPlace& place);

}  // namespace lamina
