// SPDX-License-Identifier: Apache-2.0
// Reads nodes, through a cache of bounded size: packed blocks by physical address, which never
// change under a reader. A copy that fails its check is passed over for the other one (B: a single
// bad block of metadata costs nothing).
// Thread-safety: all methods from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/buffer.h"
#include "base/mutex.h"
#include "base/task.h"
#include "engine/maps/node.h"
#include "engine/maps/node_table.h"

namespace lamina {

// A verified, packed node. Owners: the cache, and whoever looks at it just now.
using NodeBlock = std::shared_ptr<const Buffer>;

// Where a block of a generation lies; how NodeStore reaches the medium. Implemented by the engine.
class BlockSource {
 public:
  virtual ~BlockSource() = default;
  // Reads one block and says which place its checksum is keyed to. Error not_found: no segment
  // has that generation (any more).
  virtual Task<Result<MetadataPlace>> read_block(Address address, std::span<std::byte> into) = 0;
  virtual const Secret& secret() const = 0;
};

class NodeStore {
 public:
  // `cache_bytes` bounds the cached blocks, their book-keeping included.
  NodeStore(BlockSource& source, size_t cache_bytes);
  ~NodeStore();

  // From the cache alone; null if it is not there. Never waits.
  NodeBlock try_get(const NodeEntry& entry);
  // From the cache or the medium. Verified: checksum, id, version. Error corrupt/io: both copies
  // are bad. `keep` false: what a walk reads does not push others out.
  Task<Result<NodeBlock>> get(NodeId id, const NodeEntry& entry, bool keep = true);
  // Puts a node that was just written into the cache, under both of its addresses' entry.
  void put(const NodeEntry& entry, NodeBlock block);

  struct Counters {
    uint64_t hits = 0, misses = 0, second_copies = 0;  // second_copies: the first one was bad
    size_t bytes = 0;
  };
  Counters counters() const;

 private:
  struct Shard;
  BlockSource& source_;
  std::unique_ptr<Shard[]> shards_;
};

}  // namespace lamina
