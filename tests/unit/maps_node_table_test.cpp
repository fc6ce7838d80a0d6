// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "engine/maps/node_table.h"

namespace lamina {
namespace {

NodeEntry entry_of(uint64_t n) {
  NodeEntry entry;
  entry.copies = {
      Address{Generation{static_cast<uint32_t>(n % 1000000 + 1)}, static_cast<uint32_t>(n % 2048)},
      Address{Generation{static_cast<uint32_t>(n % 999983 + 5)}, static_cast<uint32_t>(n % 2039)}};
  entry.checkpoint = n % 5000;
  entry.mapped_blocks = static_cast<uint32_t>(n % 900);
  entry.level = static_cast<uint8_t>(n % 4);
  return entry;
}

using Oracle = std::map<uint64_t, NodeEntry>;

void expect_equal(const NodeTable& table, const Oracle& oracle) {
  Oracle found;
  table.for_each([&](NodeId id, const NodeEntry& entry) { found.emplace(raw(id), entry); });
  EXPECT_EQ(found, oracle);
  EXPECT_EQ(table.count(), oracle.size());
  if (!oracle.empty()) {
    EXPECT_LT(oracle.rbegin()->first, table.limit());
  }
  for (const auto& [id, entry] : oracle) EXPECT_EQ(table.at(NodeId{id}), entry);
}

TEST(NodeTable, TablesOfDifferentCheckpointsDoNotChangeEachOther) {
  std::mt19937_64 random(1);
  std::vector<std::pair<NodeTable, Oracle>> tables(1);
  for (int round = 0; round < 12; ++round) {
    auto [table, oracle] = tables[random() % tables.size()];
    for (int i = 0; i < 300; ++i) {
      const uint64_t id = 1 + (random() % 4 == 0 ? random() % 1000000 : random() % 1000);
      if (random() % 3 == 0) {
        table.erase(NodeId{id});
        oracle.erase(id);
      } else {
        table.set(NodeId{id}, entry_of(random()));
        oracle[id] = table.at(NodeId{id});
      }
    }
    tables.emplace_back(table, oracle);
    for (const auto& [t, o] : tables) expect_equal(t, o);
  }
  EXPECT_EQ(tables[0].first.find(NodeId{1}), nullptr);
}

TEST(NodeTable, UnpacksToWhatWasPackedAndLeavesWhatFollows) {
  NodeTable table;
  Oracle oracle;
  std::mt19937_64 random(2);
  for (uint64_t n = 0; n < 100000; ++n) {
    const uint64_t id = 1 + n + random() % 2;
    table.set(NodeId{id}, entry_of(random()));
    oracle[id] = table.at(NodeId{id});
  }
  std::vector<std::byte> packed;
  table.pack(packed);
  const double each = static_cast<double>(packed.size()) / static_cast<double>(table.count());
  printf("node table: %.1f bytes a node packed, %.1f in memory\n", each,
         static_cast<double>(table.bytes()) / static_cast<double>(table.count()));
  EXPECT_LT(each, 20);
  packed.push_back(std::byte{42});
  std::span<const std::byte> in = packed;
  const auto unpacked = NodeTable::unpack(in);
  ASSERT_TRUE(unpacked);
  expect_equal(*unpacked, oracle);
  ASSERT_EQ(in.size(), 1u);
}

TEST(NodeTable, NonsenseIsRefusedOrReadsAsATable) {
  NodeTable table;
  for (uint64_t n = 1; n < 50; ++n) table.set(NodeId{3 * n}, entry_of(n * 7919));
  std::vector<std::byte> good;
  table.pack(good);
  for (size_t length = 0; length < good.size(); ++length) {
    std::span<const std::byte> in(good.data(), length);
    EXPECT_FALSE(NodeTable::unpack(in)) << length;
  }
  std::mt19937_64 random(3);
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::byte> bad = good;
    for (size_t n = 1 + random() % 4; n > 0; --n)
      bad[random() % bad.size()] = static_cast<std::byte>(random());
    std::span<const std::byte> in = bad;
    if (auto result = NodeTable::unpack(in); !result) {
      EXPECT_EQ(result.error().code, Code::corrupt);
    }
  }
}

}  // namespace
}  // namespace lamina
