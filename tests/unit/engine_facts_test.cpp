// SPDX-License-Identifier: Apache-2.0
// What a segment states without payload, as an extent of a map asks for it.
#include <gtest/gtest.h>

#include <vector>

#include "engine/space/facts.h"

namespace lamina {
namespace {

Entry alias(Sequence sequence, uint64_t begin, uint64_t length) {
  Entry entry;
  entry.kind = EntryKind::alias;
  entry.sequence = sequence;
  entry.map = MapId{3};
  entry.begin = {begin};
  entry.length = {length};
  entry.source_map = MapId{2};
  entry.address = {Generation{9}, 70};
  return entry;
}
Extent extent(ExtentKind kind, uint64_t begin, uint64_t end) {
  Extent extent;
  extent.kind = kind;
  extent.begin = {begin};
  extent.end = {end};
  extent.home = Generation{12};
  extent.alias = kind == ExtentKind::data;
  if (extent.alias) extent.address = {Generation{9}, 70};
  return extent;
}

// B2: its home goes on saying so, and can be emptied, when what it shared is gone.
TEST(Facts, AnAliasWhoseDataIsGoneIsStatedAsLost) {
  const Facts facts(std::vector<Entry>{alias(7, 10, 8)});
  const std::vector<Sight> sees{{MapId{3}, UINT64_MAX}};
  const auto there = facts.of(extent(ExtentKind::data, 10, 18), sees);
  ASSERT_TRUE(there);
  EXPECT_EQ(there->at(0).kind, EntryKind::alias);
  const auto lost = facts.of(extent(ExtentKind::lost, 12, 15), sees);
  ASSERT_TRUE(lost) << lost.error().message;
  ASSERT_EQ(lost->size(), 1u);
  EXPECT_EQ(lost->at(0).kind, EntryKind::lost);
  EXPECT_EQ(lost->at(0).sequence, 7u);
  EXPECT_EQ(lost->at(0).begin, DeviceBlock{12});
  EXPECT_EQ(lost->at(0).length.value, 3u);
  EXPECT_EQ(lost->at(0).address, Address{});
  EXPECT_FALSE(facts.of(extent(ExtentKind::zero, 12, 15), sees));
}

}  // namespace
}  // namespace lamina
