// SPDX-License-Identifier: Apache-2.0
// Reads nodes, through a cache of bounded size: packed blocks by physical address, which never
// change under a reader. A copy that fails its check is passed over for the other one, and its
// owner is told, who has it written anew; where both fail, the owner is asked to make the node
// again from what else is on the medium. Readers wait for that, and nobody else notices.
// Thread-safety: all methods from any thread. It outlives every get() that was started.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "base/buffer.h"
#include "base/mutex.h"
#include "base/task.h"
#include "engine/maps/node.h"
#include "engine/maps/node_table.h"

namespace lamina {

// The bytes of a node. Not aligned: aligned pieces of one block cost the allocator two.
struct NodePage {
  std::array<std::byte, block_size> bytes;
  std::span<const std::byte> span() const { return bytes; }
  const std::byte* data() const { return bytes.data(); }
};

// A verified, packed node. Owners: the cache, and whoever looks at it just now.
using NodeBlock = std::shared_ptr<const NodePage>;
NodeBlock make_page(std::span<const std::byte> block);

// Where a block of a generation lies; how NodeStore reaches the medium. Implemented by the engine.
class BlockSource {
 public:
  virtual ~BlockSource() = default;
  // Reads one block, into aligned memory, and says which place its checksum is keyed to. Error
  // not_found: no segment has that generation (any more).
  virtual Task<Result<MetadataPlace>> read_block(Address address, std::span<std::byte> into) = 0;
  virtual const Secret& secret() const = 0;
  // One copy of that node is bad, the other one has been served.
  virtual void note_bad_copy(NodeId, const NodeEntry&) {}
  // Both copies are bad: the node as it was, if anything else tells. `why`: what is wrong with
  // them.
  virtual Task<Result<NodeBlock>> mend(NodeId, NodeEntry, Error why) {
    co_return std::unexpected<Error>(std::move(why));
  }
};

class NodeStore {
 public:
  // `cache_bytes` bounds the cached blocks, their book-keeping included.
  NodeStore(BlockSource& source, size_t cache_bytes);
  ~NodeStore();

  // `keep` false: the cache stays as it is. What a walk reads neither pushes others out, nor keeps
  // in what nobody else looks at, nor counts.
  // From the cache alone; null if it is not there. Never waits.
  NodeBlock try_get(const NodeEntry& entry, bool keep = true);
  // From the cache or the medium; misses of the same node at the same time share one read.
  // Verified: checksum, id, version, level. Error corrupt/io: both copies are bad, and nothing else
  // tells what was in them.
  Task<Result<NodeBlock>> get(NodeId id, const NodeEntry& entry, bool keep = true);
  // The same, past reads under way and without mending anything, nor keeping; for those who mend.
  Task<Result<NodeBlock>> get_as_it_is(NodeId id, const NodeEntry& entry);
  // Whether each copy is good. Error: it could not be read.
  Task<std::array<Result<>, 2>> check_copies(NodeId id, NodeEntry entry);
  // What was made again is kept until it is written, whatever the bound of the cache, in place of
  // what was there: the ones for which `still` is true.
  void keep_mended(const NodeEntry& entry, NodeBlock block);
  void forget_mended(const std::function<bool(NodeId, const NodeEntry&)>& still);
  // Puts a node that was just written into the cache, under its entry's first address.
  void put(const NodeEntry& entry, std::span<const std::byte> block);
  void put(const NodeEntry& entry, const std::shared_ptr<const Buffer>& block) {
    put(entry, block->span());
  }

  struct Counters {
    uint64_t hits = 0, misses = 0, second_copies = 0;  // second_copies: the first one was bad
    size_t bytes = 0;
  };
  Counters counters() const;

 private:
  struct Shard;
  struct Pending;

  Shard& shard_of(uint64_t key);
  Task<Result<NodeBlock>> read(NodeId id, const NodeEntry& entry);
  Task<Result<NodeBlock>> read_copy(NodeId id, const NodeEntry& entry, Address address);

  NodeBlock find_mended(const NodeEntry& entry) const;

  BlockSource& source_;
  mutable Mutex mended_mutex_;
  std::map<uint64_t, std::pair<NodeEntry, NodeBlock>> mended_ GUARDED_BY(mended_mutex_);
  std::atomic<bool> any_mended_{false};
  size_t shard_count_;  // a power of two
  std::unique_ptr<Shard[]> shards_;
  std::atomic<uint64_t> second_copies_{0};
};

}  // namespace lamina
