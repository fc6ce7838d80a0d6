// SPDX-License-Identifier: Apache-2.0
// Appends nodes and pages of tables to segments of class nodes, each block twice, in two segments,
// on two disks where there are two. Nothing of it is true before the slot that names it. When an
// epoch ends nothing is added to a segment that it opened (A3).
// Thread-safety: one checkpoint at a time. Durability: write_out() writes, the caller flushes.
#pragma once

#include <array>
#include <memory>
#include <optional>

#include "base/task.h"
#include "engine/counters.h"
#include "engine/log/log.h"
#include "engine/maps/tree.h"
#include "engine/space/space.h"

namespace lamina {

class NodeWriter {
 public:
  NodeWriter(const PoolIdentity& identity, const Settings& settings, Space& space,
             Counters& counters);

  // Where the two copies of the next block will lie.
  struct Places {
    std::array<Address, 2> copies;
    std::array<MetadataPlace, 2> keys;
    std::array<std::span<std::byte>, 2> blocks;  // to be filled before the next call
  };
  // May write out what is full. `line`: of the summary, its offset is filled in; nothing for pages
  // of tables, which a scan finds by themselves.
  Task<Result<Places>> append(std::optional<Entry> line);
  // Writes what is not written yet.
  Task<Result<>> write_out();
  // Seals what is open on a blob of which nothing is taken any more because it is being emptied.
  Task<Result<>> leave_blobs();
  // Writes out and seals both open segments, so that the next append opens new ones.
  Task<Result<>> seal_all();

 private:
  struct Head {
    SegmentName name{};
    Buffer memory;
    uint32_t next_block = 0, written = 0;
    uint32_t pages = 0;  // of tables, among what is not written
    std::vector<Entry> entries;
    size_t entry_bytes = 0;
    bool is_open() const { return name.generation != Generation::none; }
    uint32_t blocks() const { return static_cast<uint32_t>(memory.size() / block_size); }
  };
  void follow_epoch();
  bool takes_one_more(const Head& head) const;
  Result<> open_head(Head& head);
  Task<Result<>> write_pending(Head& head);
  Task<Result<>> seal(Head& head);
  void fill_header(Head& head);

  const PoolIdentity& identity_;
  const Settings& settings_;
  Space& space_;
  Counters& counters_;
  std::array<Head, 2> heads_;
  Epoch epoch_ = 0;  // in which the heads were opened
};

}  // namespace lamina
