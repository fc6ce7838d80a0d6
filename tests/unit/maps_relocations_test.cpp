// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "engine/maps/relocations.h"
#include "maps_memory_medium.h"
#include "maps_model.h"

namespace lamina {
namespace {

Address at(uint32_t generation, uint32_t block) {
  return {Generation{generation}, block};
}

std::vector<Extent> applied(const Relocations& moved, NodeId leaf, std::vector<Extent> extents,
                            bool changes = true) {
  CountsOracle counts;
  EXPECT_EQ(moved.apply(leaf, extents, counts), changes);
  return extents;
}

TEST(Relocations, DataFollowsWhereverItIsReferredTo) {
  Relocations moved;
  moved.add_data(at(3, 20), 10, at(9, 100));
  moved.add_data(at(3, 10), 5, at(8, 50));
  moved.sort();
  // Whole, in part at either end, and around both.
  EXPECT_EQ(applied(moved, NodeId{1}, {data_extent(0, 10, 3, 20)}),
            (std::vector{data_extent(0, 10, 9, 100)}));
  EXPECT_EQ(applied(moved, NodeId{2}, {data_extent(0, 4, 3, 28)}),
            (std::vector{data_extent(0, 2, 9, 108), data_extent(2, 2, 3, 30)}));
  EXPECT_EQ(
      applied(moved, NodeId{3}, {data_extent(0, 30, 3, 5)}),
      (std::vector{data_extent(0, 5, 3, 5), data_extent(5, 5, 8, 50), data_extent(10, 5, 3, 15),
                   data_extent(15, 10, 9, 100), data_extent(25, 5, 3, 30)}));
  EXPECT_EQ(applied(moved, NodeId{4}, {data_extent(0, 5, 3, 15), data_extent(5, 5, 4, 20)}, false),
            (std::vector{data_extent(0, 5, 3, 15), data_extent(5, 5, 4, 20)}));
}

TEST(Relocations, WhatComesToLieSideBySideIsOneExtent) {
  Relocations moved;
  moved.add_data(at(3, 20), 1, at(9, 100));
  moved.add_data(at(4, 70), 1, at(9, 101));
  moved.sort();
  EXPECT_EQ(applied(moved, NodeId{1}, {data_extent(5, 1, 3, 20), data_extent(6, 1, 4, 70)}),
            (std::vector{data_extent(5, 2, 9, 100)}));
}

TEST(Relocations, AFactFollowsInTheLeafThatIsNamed) {
  Relocations moved;
  moved.add_home(NodeId{1}, {{10}, {20}}, Generation{3}, Generation{9});
  const std::vector<Extent> before{zero_extent(5, 30, 3), lost_extent(30, 40, 3)};
  std::vector<Extent> extents = before;
  CountsOracle counts;
  EXPECT_TRUE(moved.apply(NodeId{1}, extents, counts));
  EXPECT_EQ(extents, (std::vector{zero_extent(5, 10, 3), zero_extent(10, 20, 9),
                                  zero_extent(20, 30, 3), lost_extent(30, 40, 3)}));
  EXPECT_EQ(counts.homes, (std::map<uint32_t, int64_t>{{3, 1}, {9, 1}}));
  EXPECT_EQ(applied(moved, NodeId{2}, before, false), before);
}

Extent alias(uint64_t begin, uint64_t length, Address place, uint32_t home) {
  Extent extent = data_extent(begin, length, raw(place.generation), place.block);
  extent.alias = true;
  extent.home = Generation{home};
  return extent;
}

// Both are part of one statement. Where a leaf took an alias in after the mover had looked at it,
// nobody has stated the new place.
TEST(Relocations, AnAliasFollowsOnlyWhereItsHomeDoes) {
  Relocations moved;
  moved.add_data(at(3, 20), 10, at(9, 100));
  moved.add_alias_home(NodeId{1}, {{0}, {10}}, at(3, 20), Generation{5}, Generation{11});
  moved.sort();
  const std::vector<Extent> unknown{alias(0, 10, at(3, 20), 6), data_extent(10, 10, 3, 20)};
  EXPECT_EQ(applied(moved, NodeId{1}, unknown),
            (std::vector{alias(0, 10, at(3, 20), 6), data_extent(10, 10, 9, 100)}));
  const std::vector<Extent> known{alias(0, 12, at(3, 20), 5)};
  EXPECT_EQ(applied(moved, NodeId{2}, known, false), known);
  std::vector<Extent> extents = known;
  CountsOracle counts;
  EXPECT_TRUE(moved.apply(NodeId{1}, extents, counts));
  EXPECT_EQ(extents, (std::vector{alias(0, 10, at(9, 100), 11), alias(10, 2, at(3, 30), 5)}));
  EXPECT_EQ(counts.homes, (std::map<uint32_t, int64_t>{{5, 0}, {11, 1}}));
}

// C2: the home may be the segment that the log is in: then it states what has come to the same
// place since the mover looked, too, and that statement is still needed (sim, random, seed 17).
TEST(Relocations, AnotherAliasOfTheSameHomeKeepsIt) {
  Relocations moved;
  moved.add_data(at(3, 20), 10, at(9, 100));
  moved.add_alias_home(NodeId{1}, {{0}, {10}}, at(3, 20), Generation{5}, Generation{11});
  moved.sort();
  const std::vector<Extent> others{alias(0, 4, at(4, 20), 5), alias(4, 3, at(3, 23), 5),
                                   zero_extent(7, 10, 5)};
  EXPECT_EQ(applied(moved, NodeId{1}, others, false), others);
  EXPECT_EQ(applied(moved, NodeId{1}, {alias(2, 3, at(3, 22), 5)}),
            (std::vector{alias(2, 3, at(9, 102), 11)}));
}

// C2: or the very same place.
TEST(Relocations, AliasesOfASegmentStayUnlessTheirHomeIsGivenUp) {
  Relocations moved;
  moved.add_data(at(3, 20), 10, at(9, 100));
  moved.add_data(at(4, 20), 10, at(9, 200));
  moved.add_alias_home(NodeId{1}, {{0}, {10}}, at(3, 20), Generation{5}, Generation{11});
  moved.add_alias_home(NodeId{1}, {{10}, {20}}, at(4, 20), Generation{5}, Generation{11});
  moved.add_alias_home(NodeId{1}, {{20}, {30}}, at(3, 20), Generation{4}, Generation{11});
  moved.add_home(NodeId{1}, {{30}, {40}}, Generation{4}, Generation{11});
  moved.sort();
  moved.keep_aliases(Generation{3}, {Generation{3}, Generation{4}});
  EXPECT_EQ(applied(moved, NodeId{1},
                    {alias(0, 10, at(3, 20), 5), alias(10, 10, at(4, 20), 5),
                     alias(20, 10, at(3, 20), 4), zero_extent(30, 40, 4)}),
            (std::vector{alias(0, 10, at(3, 20), 5), alias(10, 10, at(9, 200), 11),
                         alias(20, 10, at(9, 100), 11), zero_extent(30, 40, 11)}));
}

TEST(Relocations, DataCountsOnceHoweverManyLeavesShareIt) {
  Relocations moved;
  moved.add_data(at(3, 20), 10, at(9, 100));
  moved.sort();
  CountsOracle counts;
  std::vector<Extent> extents{data_extent(0, 10, 3, 20)}, copy = extents;
  EXPECT_TRUE(moved.apply(NodeId{1}, extents, counts));
  EXPECT_TRUE(moved.apply(NodeId{2}, copy, counts));
  moved.count_data(counts);
  EXPECT_EQ(counts.blocks, (std::map<uint32_t, int64_t>{{3, -10}, {9, 10}}));
}

}  // namespace
}  // namespace lamina
