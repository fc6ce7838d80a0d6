// SPDX-License-Identifier: Apache-2.0
// What the summaries of a few segments say of the age of their data, kept in memory: where a pool
// is nearly full and shares much, each overwrite asks whether what it takes the place of is
// certainly its device's own (A9). A segment's generation names one content, so nothing in here
// gets stale. Thread-safety: all methods from any thread. Memory: `most` summaries, 16 bytes an
// entry.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "base/task.h"
#include "blobs/summary.h"

namespace lamina {

class PoolState;

// The entries with payload of one segment, by place.
class EntryAges {
 public:
  explicit EntryAges(const std::vector<Entry>& entries);
  // How many of the blocks [begin, end) are of entries newer than that; what no entry has is not.
  uint64_t newer(uint64_t begin, uint64_t end, Sequence than) const;

 private:
  struct Row {
    uint32_t begin, end;
    Sequence sequence;
  };
  std::vector<Row> rows_;
};

class SummaryCache {
 public:
  using Ages = std::shared_ptr<const EntryAges>;  // the owners: the cache, and who asks just now

  // Reads the summary where it is not known. Error: it cannot be read, as while there is none.
  Task<Result<Ages>> ages(PoolState& pool, Generation generation);

 private:
  static constexpr size_t most = 64;
  struct Known {
    Generation generation{};
    Ages ages;
  };
  Ages find(Generation generation);
  void keep(Generation generation, Ages ages);

  Mutex mutex_;
  std::list<Known> known_ GUARDED_BY(mutex_);  // the one asked for last in front
};

}  // namespace lamina
