// SPDX-License-Identifier: Apache-2.0
#include "engine/maps/node_store.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/executor.h"

namespace lamina {
namespace {

constexpr size_t max_shards = 16;
// Below this many blocks a shard of its own would mostly be unlucky.
constexpr size_t min_shard_frames = 16;
// A cached block with its reference counts, frame, place in the index, and what the allocator adds.
constexpr size_t frame_bytes = sizeof(NodePage) + 160;

uint64_t key_of(const NodeEntry& entry) {
  return uint64_t{raw(entry.copies[0].generation)} << 32 | entry.copies[0].block;
}

uint64_t mix(uint64_t key) {
  key *= 0x9e3779b97f4a7c15;
  return key ^ key >> 32;
}

struct KeyHash {
  size_t operator()(uint64_t key) const { return mix(key); }
};

}  // namespace

NodeBlock make_page(std::span<const std::byte> block) {
  auto page = std::make_shared<NodePage>();
  LAMINA_CHECK(block.size() == page->bytes.size());
  std::memcpy(page->bytes.data(), block.data(), block.size());
  return page;
}

// A read under way, and who else wants it. Owners: the reader and the shard's list.
struct NodeStore::Pending {
  bool keep = false;
  std::vector<std::pair<Completion*, Result<NodeBlock>*>> waiters;
};

struct NodeStore::Shard {
  struct Frame {
    uint64_t key = 0;
    NodeBlock block;
    bool used = false;  // since the hand passed
  };

  mutable Mutex mutex;
  size_t capacity = 0;  // frames
  std::vector<Frame> frames GUARDED_BY(mutex);
  std::unordered_map<uint64_t, size_t, KeyHash> index GUARDED_BY(mutex);  // key -> frame
  size_t hand GUARDED_BY(mutex) = 0;
  std::unordered_map<uint64_t, std::shared_ptr<Pending>, KeyHash> pending GUARDED_BY(mutex);
  uint64_t hits GUARDED_BY(mutex) = 0;
  uint64_t misses GUARDED_BY(mutex) = 0;

  NodeBlock find(uint64_t key, bool use) REQUIRES(mutex) {
    const auto found = index.find(key);
    if (found == index.end()) return nullptr;
    if (!use) return frames[found->second].block;
    ++hits;
    frames[found->second].used = true;
    return frames[found->second].block;
  }

  void keep(uint64_t key, NodeBlock block) REQUIRES(mutex) {
    if (capacity == 0) return;
    const auto found = index.find(key);
    if (found != index.end()) {
      frames[found->second].block = std::move(block);
      return;
    }
    if (frames.size() < capacity) {
      index.emplace(key, frames.size());
      frames.push_back({key, std::move(block), false});
      return;
    }
    // The clock: what was used since the hand came by last gets another round.
    while (frames[hand].used) {
      frames[hand].used = false;
      hand = (hand + 1) % frames.size();
    }
    index.erase(frames[hand].key);
    index.emplace(key, hand);
    frames[hand] = {key, std::move(block), false};
    hand = (hand + 1) % frames.size();
  }
};

NodeStore::NodeStore(BlockSource& source, size_t cache_bytes) : source_(source), shard_count_(1) {
  const size_t frames = cache_bytes / frame_bytes;
  while (shard_count_ < max_shards && frames / (shard_count_ * 2) >= min_shard_frames)
    shard_count_ *= 2;
  shards_ = std::make_unique<Shard[]>(shard_count_);
  for (size_t s = 0; s < shard_count_; ++s) shards_[s].capacity = frames / shard_count_;
}

NodeStore::~NodeStore() = default;

NodeStore::Shard& NodeStore::shard_of(uint64_t key) {
  // Other bits than those that the index uses.
  return shards_[mix(key) >> 40 & (shard_count_ - 1)];
}

NodeBlock NodeStore::try_get(const NodeEntry& entry, bool keep) {
  const uint64_t key = key_of(entry);
  Shard& shard = shard_of(key);
  Lock lock(shard.mutex);
  return shard.find(key, keep);
}

void NodeStore::put(const NodeEntry& entry, std::span<const std::byte> block) {
  const uint64_t key = key_of(entry);
  Shard& shard = shard_of(key);
  NodeBlock page = make_page(block);
  Lock lock(shard.mutex);
  shard.keep(key, std::move(page));
}

Task<Result<NodeBlock>> NodeStore::get(NodeId id, const NodeEntry& entry, bool keep) {
  const uint64_t key = key_of(entry);
  Shard& shard = shard_of(key);
  Completion ready;
  Result<NodeBlock> result{nullptr};
  std::shared_ptr<Pending> mine;
  {
    Lock lock(shard.mutex);
    if (NodeBlock block = shard.find(key, keep)) co_return block;
    if (keep) ++shard.misses;
    std::shared_ptr<Pending>& pending = shard.pending[key];
    if (pending) {
      pending->waiters.emplace_back(&ready, &result);
    } else {
      pending = mine = std::make_shared<Pending>();
    }
    pending->keep |= keep;
  }
  if (!mine) {
    co_await ready;
    co_return result;
  }
  Task<Result<NodeBlock>> reading = read(id, entry);
  result = co_await reading;
  std::vector<std::pair<Completion*, Result<NodeBlock>*>> waiters;
  {
    Lock lock(shard.mutex);
    if (result && mine->keep) shard.keep(key, *result);
    waiters.swap(mine->waiters);
    shard.pending.erase(key);
  }
  for (const auto& [completion, place] : waiters) {
    *place = result;
    completion->signal();
  }
  co_return result;
}

Task<Result<NodeBlock>> NodeStore::read(NodeId id, const NodeEntry& entry) {
  Task<Result<NodeBlock>> reading = get_as_it_is(id, entry);
  Result<NodeBlock> read = co_await reading;
  if (read || read.error().code != Code::corrupt) co_return read;
  Error why = read.error();
  Task<Result<NodeBlock>> mending = source_.mend(id, entry, std::move(why));
  Result<NodeBlock> mended = co_await mending;
  if (mended) keep_mended(entry, *mended);
  co_return mended;
}

// The first copy, and where that is bad the second.
Task<Result<NodeBlock>> NodeStore::get_as_it_is(NodeId id, const NodeEntry& entry) {
  if (NodeBlock mended = find_mended(entry)) co_return mended;
  if (NodeBlock cached = try_get(entry, false)) co_return cached;
  Task<Result<NodeBlock>> reading = read_copy(id, entry, entry.copies[0]);
  Result<NodeBlock> first = co_await reading;
  if (first || entry.copies[1].generation == Generation::none) co_return first;
  Task<Result<NodeBlock>> again = read_copy(id, entry, entry.copies[1]);
  Result<NodeBlock> second = co_await again;
  if (second) {
    second_copies_.fetch_add(1, std::memory_order_relaxed);
    source_.note_bad_copy(id, entry);
    co_return second;
  }
  // One copy that may come back makes the node's loss temporary.
  const bool temporary = first.error().code == Code::io || second.error().code == Code::io;
  co_return fail(temporary ? Code::io : Code::corrupt,
                 "both copies of node " + std::to_string(raw(id)) +
                     " are bad: " + first.error().message + "; " + second.error().message);
}

Task<Result<NodeBlock>> NodeStore::read_copy(NodeId id, const NodeEntry& entry, Address address) {
  Buffer block(block_size);
  const std::span<std::byte> into = block.span();
  Task<Result<MetadataPlace>> reading = source_.read_block(address, into);
  Result<MetadataPlace> place = co_await reading;
  if (!place) co_return forward_error(place);
  LAMINA_CO_TRY(verify_node(into, source_.secret(), *place));
  const NodeHeader header = NodeView(into).header();
  // A lost write leaves an older version, valid in itself (A12, B3).
  if (header.id != id || header.checkpoint != entry.checkpoint || header.level != entry.level)
    co_return fail(Code::corrupt, "another node or another version of it");
  co_return make_page(into);
}

Task<std::array<Result<>, 2>> NodeStore::check_copies(NodeId id, NodeEntry entry) {
  std::array<Result<>, 2> results;
  for (size_t i = 0; i < results.size(); ++i) {
    if (entry.copies[i].generation == Generation::none) continue;
    Task<Result<NodeBlock>> reading = read_copy(id, entry, entry.copies[i]);
    const Result<NodeBlock> block = co_await reading;
    if (!block) results[i] = std::unexpected<Error>(block.error());
  }
  co_return results;
}

NodeBlock NodeStore::find_mended(const NodeEntry& entry) const {
  if (!any_mended_.load(std::memory_order_acquire)) return nullptr;
  Lock lock(mended_mutex_);
  const auto found = mended_.find(key_of(entry));
  return found == mended_.end() ? nullptr : found->second.second;
}

void NodeStore::keep_mended(const NodeEntry& entry, NodeBlock block) {
  {
    Lock lock(mended_mutex_);
    mended_.insert_or_assign(key_of(entry), std::pair(entry, block));
    any_mended_.store(true, std::memory_order_release);
  }
  Shard& shard = shard_of(key_of(entry));
  Lock lock(shard.mutex);
  shard.keep(key_of(entry), std::move(block));
}

void NodeStore::forget_mended(const std::function<bool(NodeId, const NodeEntry&)>& still) {
  Lock lock(mended_mutex_);
  std::erase_if(mended_, [&](const auto& item) {
    const auto& [entry, block] = item.second;
    return !still(NodeView(block->span()).header().id, entry);
  });
  any_mended_.store(!mended_.empty(), std::memory_order_release);
}

NodeStore::Counters NodeStore::counters() const {
  Counters counters;
  for (size_t s = 0; s < shard_count_; ++s) {
    Lock lock(shards_[s].mutex);
    counters.hits += shards_[s].hits;
    counters.misses += shards_[s].misses;
    counters.bytes += shards_[s].frames.size() * frame_bytes;
  }
  counters.second_copies = second_copies_.load(std::memory_order_relaxed);
  return counters;
}

}  // namespace lamina
