// SPDX-License-Identifier: Apache-2.0

#include "engine/maps/node_store.h"
#include "engine/maps/read_ahead.h"
#include "maps_memory_medium.h"
#include "maps_model.h"

namespace lamina {
namespace {

Node leaf(uint64_t id, CheckpointNumber checkpoint = 1) {
  Node node;
  node.header = {.id = NodeId{id}, .checkpoint = checkpoint, .end = device_end};
  node.extents = {data_extent(id, 1, 5, static_cast<uint32_t>(id))};
  node.header.mapped_blocks = 1;
  return node;
}

struct NodeStoreTest : testing::Test {
  template <class T>
  T run(Task<T> task) {
    T result{};
    EXPECT_TRUE(executor.run_until(std::move(task), result));
    return result;
  }
  SimExecutor executor{1};
  MemoryMedium medium;
};

TEST_F(NodeStoreTest, ReadsOnceAndThenAnswersFromTheCache) {
  NodeStore store(medium, 1 << 20);
  const NodeEntry entry = medium.write(leaf(3));
  EXPECT_EQ(store.try_get(entry), nullptr);
  const Result<NodeBlock> block = run(store.get(NodeId{3}, entry));
  ASSERT_TRUE(block);
  EXPECT_EQ(NodeView((*block)->span()).header().id, NodeId{3});
  EXPECT_EQ(store.try_get(entry), *block);
  EXPECT_EQ(*run(store.get(NodeId{3}, entry)), *block);
  EXPECT_EQ(medium.reads, 1u);
  EXPECT_EQ(store.counters().misses, 1u);
}

TEST_F(NodeStoreTest, WhatAWalkReadsIsNotKept) {
  NodeStore store(medium, 1 << 20);
  const NodeEntry entry = medium.write(leaf(3));
  ASSERT_TRUE(run(store.get(NodeId{3}, entry, false)));
  EXPECT_EQ(store.try_get(entry), nullptr);
}

TEST_F(NodeStoreTest, TheCacheStaysBelowItsBoundAndKeepsWhatIsUsed) {
  constexpr size_t bound = 1 << 20;
  NodeStore store(medium, bound);
  const NodeEntry hot = medium.write(leaf(1));
  store.put(hot, medium.at(hot.copies[0]));
  for (uint64_t id = 2; id < 2000; ++id) {
    const NodeEntry entry = medium.write(leaf(id));
    store.put(entry, medium.at(entry.copies[0]));
    ASSERT_NE(store.try_get(hot), nullptr);
    ASSERT_LE(store.counters().bytes, bound);
  }
  EXPECT_GT(store.counters().bytes, bound / 10 * 9);
}

TEST_F(NodeStoreTest, MissesOfOneNodeShareOneRead) {
  NodeStore store(medium, 1 << 20);
  medium.slowest_ns = 1000;
  const NodeEntry entry = medium.write(leaf(3));
  auto all = [](NodeStore& from, NodeEntry of) -> Task<Result<>> {
    ReadAhead ahead(from, true);
    for (int i = 0; i < 10; ++i) ahead.start(NodeId{3}, of);
    while (ahead.size() > 0) {
      Task<Result<NodeBlock>> taking = ahead.take();
      const Result<NodeBlock> block = co_await taking;
      if (!block) co_return std::unexpected<Error>(block.error());
    }
    co_return Result<>{};
  };
  EXPECT_TRUE(run(all(store, entry)));
  EXPECT_EQ(medium.reads, 1u);

  // And its error; the next one reads again.
  const NodeEntry bad = medium.write(leaf(4));
  medium.failing = {bad.copies[0], bad.copies[1]};
  EXPECT_FALSE(run(all(store, bad)));
  medium.failing.clear();
  EXPECT_TRUE(run(store.get(NodeId{4}, bad)));
}

TEST_F(NodeStoreTest, AnOlderVersionOrAnotherNodeInItsPlaceIsPassedOver) {
  NodeStore store(medium, 1 << 20);
  NodeEntry entry = medium.write(leaf(3, 7));
  const NodeEntry old = medium.write(leaf(3, 6));
  const NodeEntry other = medium.write(leaf(8, 7));
  NodeEntry lost_write = entry;
  lost_write.copies[0] = old.copies[0];
  const Result<NodeBlock> block = run(store.get(NodeId{3}, lost_write));
  ASSERT_TRUE(block);
  EXPECT_EQ(NodeView((*block)->span()).header().checkpoint, 7u);
  EXPECT_EQ(store.counters().second_copies, 1u);
  entry.copies = {old.copies[1], other.copies[0]};
  const Result<NodeBlock> none = run(store.get(NodeId{3}, entry));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Code::corrupt);
}

TEST_F(NodeStoreTest, AHitIsCheap) {
  NodeStore store(medium, 64 << 20);
  std::vector<NodeEntry> entries;
  for (uint64_t id = 1; id < 4000; ++id) {
    entries.push_back(medium.write(leaf(id)));
    store.put(entries.back(), medium.at(entries.back().copies[0]));
  }
  std::mt19937_64 random(1);
  constexpr int rounds = 1000000;
  const double begin = cpu_ns();
  uint64_t found = 0;
  for (int i = 0; i < rounds; ++i)
    found += store.try_get(entries[random() % entries.size()]) != nullptr;
  const double taken = cpu_ns() - begin;
  EXPECT_EQ(found, static_cast<uint64_t>(rounds));
  printf("try_get: %.0f ns\n", taken / rounds);
}

}  // namespace
}  // namespace lamina
