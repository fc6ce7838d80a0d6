// SPDX-License-Identifier: Apache-2.0
// The log segments that memory still holds: the one being filled, and those that are not known to
// be durable yet. What is read from them is copied from memory.
// Thread-safety: Tail's methods from any thread. A segment's blocks are each written once, before
// any address of them is known to a reader; the rest of a TailSegment belongs to the order lock.
#pragma once

#include <atomic>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/buffer.h"
#include "base/mutex.h"
#include "blobs/entry.h"
#include "blobs/record.h"
#include "engine/sums.h"

namespace lamina {

struct TailSegment {
  SegmentName name;
  Epoch epoch = 0;               // in which it was opened
  uint64_t ordinal = 0;          // of the log's segments in this life
  uint64_t opened_ns = 0;        // when the log came to it
  Buffer memory;                 // all blocks of the segment
  SegmentSums sums;              // of the blocks written so far
  uint32_t next_block = 0;       // where the next record begins
  Sequence first = 0, last = 0;  // of the entries in it; 0 while there are none
  std::vector<Entry> entries;    // for the summary, and to be written again (A19)
  size_t entry_bytes = 0;        // of them, packed
  std::vector<uint32_t> steps;   // where each begins in `entries`: what one record must hold
  uint32_t in_flight = 0;        // records that are being written
  bool full = false;             // no record will be added
  bool sealed = false;           // its summary and checksums have been written
  bool seal_durable = false;     // and flushed
};

class Tail {
 public:
  void add(std::shared_ptr<TailSegment> segment);
  void remove(Generation generation);
  // Copies `into.size()` bytes that begin at `address`; false: not in memory (any more).
  bool copy(Address address, std::span<std::byte> into) const;
  // Null: not in memory (any more).
  std::shared_ptr<const TailSegment> find(Generation generation) const;
  size_t segments() const;

  // How often entries were written again elsewhere (A19). Whoever looks an address up, finds it not
  // in memory, and finds this changed since before he looked, looks again: the address may be one
  // where nothing counts any more. What is still the same is durable.
  uint64_t rewritten() const { return rewritten_.load(std::memory_order_acquire); }
  // All addresses have been changed; only now segments that they led to may be removed.
  void note_rewritten() { rewritten_.fetch_add(1, std::memory_order_acq_rel); }

 private:
  std::atomic<uint64_t> rewritten_{0};
  mutable Mutex mutex_;
  std::unordered_map<uint32_t, std::shared_ptr<TailSegment>> segments_ GUARDED_BY(mutex_);
};

}  // namespace lamina
