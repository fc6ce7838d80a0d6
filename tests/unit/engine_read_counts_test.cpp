// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "engine/space/read_counts.h"

namespace lamina {
namespace {

constexpr MapId map_one{1}, map_two{2};
using Ranges = std::vector<ReadCounts::Range>;

TEST(ReadCounts, OftenIsMoreThanTwiceOver) {
  ReadCounts counts;
  counts.note(map_two, DeviceBlock{0}, 96);
  counts.note(map_one, DeviceBlock{16}, 64);
  EXPECT_EQ(counts.often(), Ranges{});
  counts.note(map_one, DeviceBlock{16}, 64);
  EXPECT_EQ(counts.often(), Ranges{});
  counts.note(map_one, DeviceBlock{40}, 1);
  EXPECT_EQ(counts.often(), (Ranges{{map_one, DeviceBlock{32}}}));
  for (int i = 0; i < 70; ++i) counts.note(map_two, DeviceBlock{95}, 1);
  EXPECT_EQ(counts.often(), (Ranges{{map_one, DeviceBlock{32}}, {map_two, DeviceBlock{64}}}));
  counts.forget({map_one, DeviceBlock{32}});
  EXPECT_EQ(counts.often(), (Ranges{{map_two, DeviceBlock{64}}}));
}

TEST(ReadCounts, WhatWasReadLongAgoCountsLess) {
  ReadCounts counts;
  for (int i = 0; i < 4; ++i) counts.note(map_one, DeviceBlock{0}, 32);
  EXPECT_EQ(counts.often().size(), 1u);
  counts.forget_half();
  EXPECT_EQ(counts.often().size(), 0u);
  counts.note(map_one, DeviceBlock{0}, 32);
  EXPECT_EQ(counts.often().size(), 1u);
}

TEST(ReadCounts, AScanOfEverythingKeepsNoMoreThanIsAllowedAndTheBusiest) {
  ReadCounts counts(100);
  for (int i = 0; i < 128; ++i) counts.note(map_two, DeviceBlock{0}, 32);
  for (uint64_t block = 0; block < 100 * 5; ++block) counts.note(map_one, DeviceBlock{block * 32}, 1);
  EXPECT_EQ(counts.often(), (Ranges{{map_two, DeviceBlock{0}}}));
}

}  // namespace
}  // namespace lamina
