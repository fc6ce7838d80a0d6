// SPDX-License-Identifier: Apache-2.0
// What trees lie on in tests: blocks in memory, read after random delays on a simulated executor,
// some of them bad; and a sink as the checkpoint has one.
// Thread-safety: none.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "base/executor.h"
#include "blobs/sim_executor.h"
#include "engine/maps/tree.h"

namespace lamina {

class MemoryMedium final : public BlockSource {
 public:
  explicit MemoryMedium(uint64_t seed = 1) : random_(seed) {}

  Task<Result<MetadataPlace>> read_block(Address address, std::span<std::byte> into) override {
    ++reads;
    ++under_way;
    most_under_way = std::max(most_under_way, under_way);
    if (slowest_ns > 0) co_await Sleep{1 + random_() % slowest_ns};
    --under_way;
    if (failing.contains(address)) co_return fail(Code::io, "a bad block");
    const auto found = blocks_.find(address);
    if (found == blocks_.end()) co_return fail(Code::not_found);
    std::memcpy(into.data(), found->second.data(), block_size);
    co_return place_of(address);
  }
  const Secret& secret() const override { return secret_; }

  // Both copies of a node, at new places.
  NodeEntry write(const Node& node) {
    NodeEntry entry;
    entry.checkpoint = node.header.checkpoint;
    entry.level = static_cast<uint8_t>(node.header.level);
    entry.mapped_blocks =
        static_cast<uint32_t>(std::min<uint64_t>(node.header.mapped_blocks, UINT32_MAX));
    std::vector<std::byte> packed(block_size);
    pack_node(node, packed);
    for (Address& copy : entry.copies) {
      copy = {Generation{1 + next_ / 2000}, next_ % 2000};
      ++next_;
      stamp_node(packed, secret_, place_of(copy));
      blocks_[copy] = packed;
    }
    return entry;
  }
  std::span<const std::byte> at(Address address) { return blocks_.at(address); }
  void flip_bit(Address address) { blocks_.at(address)[1000] ^= std::byte{4}; }

  std::set<Address> failing;
  uint64_t slowest_ns = 0;  // 0: reads complete at once
  uint64_t reads = 0;
  size_t under_way = 0, most_under_way = 0;

 private:
  static MetadataPlace place_of(Address address) {
    return {BlobId{0}, raw(address.generation) + 3, address.generation, address.block};
  }
  std::mt19937_64 random_;
  Secret secret_{std::byte{7}};
  uint32_t next_ = 0;
  std::map<Address, std::vector<std::byte>> blocks_;
};

// Edits a table in place, as a checkpoint does.
class TableSink final : public NodeSink {
 public:
  TableSink(MemoryMedium& the_medium, NodeStore* the_store = nullptr)
      : medium(the_medium), store(the_store) {}
  NodeId allocate() override { return NodeId{next++}; }
  Task<Result<>> put(const Node& node, std::vector<NodeId> sources) override {
    EXPECT_TRUE(fits(node));
    written.push_back(node.header);
    sources_of[node.header.id] = std::move(sources);
    const NodeEntry entry = medium.write(node);
    table.set(node.header.id, entry);
    if (store) store->put(entry, medium.at(entry.copies[0]));
    if (fail_after > 0 && --fail_after == 0) co_return fail(Code::no_space);
    co_return Result<>{};
  }
  void erase(NodeId id) override {
    EXPECT_NE(table.find(id), nullptr) << "erased twice: " << raw(id);
    table.erase(id);
    erased.push_back(id);
  }

  MemoryMedium& medium;
  NodeStore* store;
  NodeTable table;
  uint64_t next = 1;
  uint64_t fail_after = 0;
  std::vector<NodeHeader> written;
  std::map<NodeId, std::vector<NodeId>> sources_of;
  std::vector<NodeId> erased;
};

struct CountsOracle final : LiveCounts {
  std::map<uint32_t, int64_t> blocks, homes;
  void data(Generation generation, int64_t change) override { blocks[raw(generation)] += change; }
  void home(Generation generation, int64_t change) override { homes[raw(generation)] += change; }
  static std::map<uint32_t, int64_t> without_zeroes(std::map<uint32_t, int64_t> counts) {
    std::erase_if(counts, [](const auto& entry) { return entry.second == 0; });
    return counts;
  }
};

}  // namespace lamina
