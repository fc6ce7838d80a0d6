// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "engine/lineage.h"
#include "engine/space/facts.h"

namespace lamina {
namespace {

LineageRow row(uint64_t map, uint64_t parent, Sequence at) {
  return {MapId{map}, MapId{parent}, at, DeviceId{map}};
}

std::vector<MapId> maps(std::initializer_list<uint64_t> ids) {
  std::vector<MapId> out;
  for (uint64_t id : ids) out.push_back(MapId{id});
  return out;
}

Sequence of(const std::unordered_map<MapId, Sequence>& newest, uint64_t map) {
  const auto found = newest.find(MapId{map});
  return found == newest.end() ? 0 : found->second;
}

TEST(Lineage, ASurvivorSharesUpToWhereALivingOneLeftItsLine) {
  // 1 was forked to 2 at 10, to 3 at 20; 3 to 4 at 30.
  const Lineage all{row(2, 1, 10), row(3, 1, 20), row(4, 3, 30)};
  Lineage lineage = all;
  auto newest = newest_divergences(lineage, maps({1, 2, 3, 4}));
  EXPECT_EQ(lineage, all);
  EXPECT_EQ(of(newest, 1), 20u);
  EXPECT_EQ(of(newest, 2), 10u);
  EXPECT_EQ(of(newest, 3), 30u);
  EXPECT_EQ(of(newest, 4), 30u);
  // The origin goes first: its line still parts 2 from the others, where 2 left it.
  newest = newest_divergences(lineage, maps({2, 3, 4}));
  EXPECT_EQ(lineage, all);
  EXPECT_EQ(of(newest, 2), 10u);
  EXPECT_EQ(of(newest, 3), 30u);
  newest = newest_divergences(lineage, maps({2, 4}));
  EXPECT_EQ(lineage, all);
  EXPECT_EQ(of(newest, 2), 10u);
  EXPECT_EQ(of(newest, 4), 10u);
  newest = newest_divergences(lineage, maps({4}));
  EXPECT_EQ(of(newest, 4), 0u);
  EXPECT_EQ(lineage, (Lineage{row(3, 1, 20), row(4, 3, 30)}));  // what says what 4 holds (C5)
}

TEST(Lineage, SightEndsWhereOneWasForkedOff) {
  const Lineage lineage{row(2, 1, 10), row(3, 2, 30), row(4, 2, 40)};
  const std::vector<Sight> seen = sights(lineage, MapId{3});
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[0].map, MapId{3});
  EXPECT_EQ(seen[1].map, MapId{2});
  EXPECT_EQ(seen[1].limit, 30u);
  EXPECT_EQ(seen[2].map, MapId{1});
  EXPECT_EQ(seen[2].limit, 10u);
}

// Two maps have in common what both see; where that ends they diverged.
TEST(Lineage, EqualsTheDefinitionForRandomFamilies) {
  std::mt19937_64 random(5);
  for (int round = 0; round < 300; ++round) {
    Lineage lineage;
    const uint64_t count = 2 + random() % 12;
    Sequence at = 0;
    std::vector<MapId> living;
    for (uint64_t id = 1; id <= count; ++id)
      if (id > 2) lineage.push_back(row(id, 1 + random() % (id - 1), ++at));
    for (uint64_t id = 1; id <= count; ++id)
      if (random() % 2) living.push_back(MapId{id});
    std::map<MapId, Sequence> expected;
    for (const MapId a : living)
      for (const MapId b : living) {
        if (a == b) continue;
        for (const Sight& left : sights(lineage, a))
          for (const Sight& right : sights(lineage, b))
            if (left.map == right.map)
              expected[a] = std::max(expected[a], std::min(left.limit, right.limit));
      }
    const auto newest = newest_divergences(lineage, living);
    for (const MapId map : living) EXPECT_EQ(of(newest, raw(map)), expected[map]) << raw(map);
  }
}

// C1: an entry of number 5 and one of 9 are one to all who see either, unless a fork saw only the
// first.
TEST(Lineage, AForkBetweenTwoNumbersKeepsThemApart) {
  const Lineage lineage{{MapId{2}, MapId{1}, 7, DeviceId{2}}};
  EXPECT_TRUE(forked_between(lineage, MapId{1}, 5, 9));
  EXPECT_TRUE(forked_between(lineage, MapId{1}, 7, 9));
  EXPECT_FALSE(forked_between(lineage, MapId{1}, 5, 7));  // it sees both
  EXPECT_FALSE(forked_between(lineage, MapId{1}, 8, 9));  // neither
  EXPECT_FALSE(forked_between(lineage, MapId{2}, 5, 9));
  EXPECT_FALSE(forked_between(lineage, MapId{1}, 7, 7));
}

Entry zero(Sequence sequence, uint64_t begin, uint64_t map = 1) {
  Entry entry;
  entry.kind = EntryKind::zero;
  entry.sequence = sequence;
  entry.map = MapId{map};
  entry.begin = DeviceBlock{begin};
  entry.length = BlockCount{1};
  return entry;
}

// Of what two maps may have in common: 1 is the first, 2 was forked from it at 7, 3 from 2 at 9,
// and 4 from 1 at 5.
TEST(Lineage, MapsDivergeWhereTheNearerOfThemLeftTheCommonLine) {
  const Lineage lineage{{MapId{2}, MapId{1}, 7, DeviceId{2}},
                        {MapId{3}, MapId{2}, 9, DeviceId{3}},
                        {MapId{4}, MapId{1}, 5, DeviceId{4}}};
  const DivergencesFrom first(lineage, MapId{1}), third(lineage, MapId{3});
  EXPECT_EQ(third(MapId{3}), UINT64_MAX);
  EXPECT_EQ(third(MapId{2}), 9U);
  EXPECT_EQ(third(MapId{1}), 7U);
  EXPECT_EQ(third(MapId{4}), 5U);
  EXPECT_EQ(first(MapId{3}), 7U);
  EXPECT_EQ(first(MapId{4}), 5U);
  EXPECT_EQ(third(MapId{99}), 0U) << "of another family";
}

// C1, as the mover states what it carries: the fork has [0] alone, and would lose or gain one.
TEST(Lineage, ZeroesAreOneStatementUnlessAForkLiesBetweenThem) {
  const Lineage lineage{{MapId{2}, MapId{1}, 7, DeviceId{2}}};
  Entry first = zero(5, 0);
  Sequence smallest = first.sequence;
  EXPECT_FALSE(merge_zero(first, smallest, zero(9, 1), lineage));
  EXPECT_FALSE(merge_zero(first, smallest, zero(6, 2), lineage));     // not beside it
  EXPECT_FALSE(merge_zero(first, smallest, zero(6, 1, 3), lineage));  // of another map
  EXPECT_EQ(first, zero(5, 0));
  EXPECT_TRUE(merge_zero(first, smallest, zero(6, 1), lineage));
  EXPECT_EQ(first.sequence, 6U);
  EXPECT_EQ(first.length.value, 2U);
  EXPECT_TRUE(merge_zero(first, smallest, zero(3, 2), lineage));
  EXPECT_EQ(first.sequence, 6U);  // the larger
  EXPECT_EQ(smallest, 3U);
  EXPECT_FALSE(merge_zero(first, smallest, zero(8, 3), lineage));
  // Of what was stated already all numbers count, not only the largest.
  Entry newer = zero(9, 0);
  smallest = 5;
  EXPECT_FALSE(merge_zero(newer, smallest, zero(10, 1), lineage));
}

}  // namespace
}  // namespace lamina
