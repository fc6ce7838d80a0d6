// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "blobs/entry.h"
#include "blobs/segment.h"
#include "blobs/summary.h"
#include "engine/pool.h"
#include "engine/space/cleaning.h"
#include "engine/space/moved_layout.h"

namespace lamina {
namespace {

constexpr uint32_t of_segment = 2048;  // of a segment
const MovedLayout layout(of_segment);

Segment sealed(uint32_t generation, double live, int64_t homes = 0) {
  Segment s;
  s.name.generation = Generation{generation};
  s.use = SegmentUse::sealed;
  s.live_blocks = static_cast<int64_t>(live * layout.payload());
  s.homes = homes;
  return s;
}

CleaningNeed need(uint64_t missing, uint64_t targets) {
  CleaningNeed need{.layout = layout};
  need.missing = missing;
  need.targets = targets;
  need.newest = Generation{1000};
  return need;
}

std::set<Generation> generations(std::initializer_list<uint32_t> all) {
  std::set<Generation> set;
  for (const uint32_t one : all) set.insert(Generation{one});
  return set;
}

TEST(Cleaning, WhatIsEmptiestAmongThoseOfOneAgeComesFirst) {
  const std::vector<Segment> candidates{sealed(500, 0.8), sealed(501, 0.2), sealed(502, 0.5),
                                        sealed(503, 0.3)};
  EXPECT_EQ(choose_victims(candidates, need(1, 10)), generations({501, 503}));
}

TEST(Cleaning, OldSegmentsAreEmptiedWhileTheyAreFullerThanYoungOnes) {
  const std::vector<Segment> candidates{sealed(10, 0.7), sealed(20, 0.7), sealed(30, 0.5),
                                        sealed(998, 0.3), sealed(999, 0.3)};
  EXPECT_EQ(choose_victims(candidates, need(1, 10)), generations({10, 20, 30}));
}

TEST(Cleaning, WhereUsersWaitForSpaceAgeDoesNotCount) {
  const std::vector<Segment> candidates{sealed(10, 0.7), sealed(20, 0.7), sealed(30, 0.5),
                                        sealed(998, 0.3), sealed(999, 0.3)};
  CleaningNeed urgent = need(1, 10);
  urgent.urgent = true;
  EXPECT_EQ(choose_victims(candidates, urgent), generations({998, 999}));
}

// Full old segments would fill the only target and gain nothing; the pool would be called full.
TEST(Cleaning, WhereAgeWouldGainNothingItDoesNotCount) {
  std::vector<Segment> candidates{sealed(998, 0.4), sealed(999, 0.4)};
  for (uint32_t i = 1; i <= 20; ++i) candidates.push_back(sealed(i, 0.9));
  EXPECT_EQ(choose_victims(candidates, need(3, 1)), generations({998, 999}));
}

TEST(Cleaning, WhatGainsNoSegmentIsNotTaken) {
  EXPECT_TRUE(choose_victims({sealed(1, 0.9), sealed(2, 0.9)}, need(4, 10)).empty());
  EXPECT_TRUE(
      choose_victims({sealed(1, 0.95), sealed(2, 0.99)}, need(4, 100)).empty());      // too full
  EXPECT_TRUE(choose_victims({sealed(1, 0.5), sealed(2, 0.5)}, need(1, 0)).empty());  // no room
  EXPECT_TRUE(choose_victims({}, need(1, 1)).empty());
}

// D6: 2048 fsynced discards are a segment of entries, some ten blocks of summary elsewhere.
TEST(Cleaning, SegmentsOfFactsAloneAreCarriedFirst) {
  const std::vector<Segment> candidates{sealed(1, 0.3), sealed(998, 0, 600), sealed(999, 0, 600)};
  EXPECT_EQ(choose_victims(candidates, need(1, 10)), generations({998, 999}));
}

TEST(Cleaning, ManyFactsFillATargetWithoutAnyData) {
  const auto most = static_cast<int64_t>(layout.facts_alone());
  EXPECT_GT(most, 8 * of_segment);
  CleaningBatch batch(layout);
  batch.add(sealed(1, 0, most));
  EXPECT_EQ(batch.targets(), 1U);
  batch.add(sealed(2, 0, 1));
  EXPECT_EQ(batch.targets(), 2U);
  EXPECT_GT(batch.fill(), 1.0);
}

// Else a target is full before it holds what was counted on, and a pool with large numbers refuses
// what users overwrite.
TEST(Cleaning, ABlockHasRoomForTheLargestEntryOfOne) {
  Entry entry;
  entry.kind = EntryKind::write;
  entry.sequence = (uint64_t{1} << 42) - 1;
  entry.map = MapId{(1 << 21) - 1};
  entry.begin = DeviceBlock{(uint64_t{128} << 40) / block_size - 1};
  entry.length = BlockCount{1};
  entry.offset = (1 << 14) - 1;
  EXPECT_LE(packed_entry_size(entry, 0), MovedLayout::most_entry_bytes);
}

// What is counted on is there: as many entries as blocks of payload, whatever an entry takes.
TEST(Cleaning, ATargetHasRoomForAnEntryABlock) {
  for (const uint32_t segment : {64U, 512U, 2048U, 16384U})
    for (size_t bytes = 8; bytes <= 26; ++bytes) {
      const MovedLayout made(segment, bytes);
      EXPECT_LE(summary_blocks(made.payload() * bytes), made.summary());
      EXPECT_EQ(payload_begin(SegmentClass::moved, segment, made.summary()) + made.payload() +
                    second_array_blocks(SegmentClass::moved, segment) + made.summary(),
                segment);
    }
}

// A pool that is not old keeps less for what it does not need.
TEST(Cleaning, EntriesAreCountedOnAsTheyCanBe) {
  const size_t young = moved_entry_bytes(MapId{100}, 1'000'000, 512);
  const size_t old = moved_entry_bytes(MapId{1'000'000}, uint64_t{1} << 41, 512);
  Entry entry;
  entry.kind = EntryKind::write;
  entry.sequence = 1'000'000;
  entry.map = MapId{100};
  entry.begin = DeviceBlock{max_device_bytes / block_size - 1};
  entry.length = BlockCount{1};
  entry.offset = 511;
  EXPECT_EQ(young, packed_entry_size(entry, 0));
  EXPECT_GT(MovedLayout(512, young).payload(), MovedLayout(512, old).payload());
}

TEST(Cleaning, AFewFactsFindRoomBesideData) {
  CleaningBatch batch(layout);
  batch.add(sealed(1, 0.5, 100));
  EXPECT_EQ(batch.targets(), 1U);
}

TEST(Cleaning, AsManyAreTakenAsAreMissing) {
  std::vector<Segment> candidates;
  for (uint32_t i = 1; i <= 40; ++i) candidates.push_back(sealed(i, 0.5));
  EXPECT_EQ(choose_victims(candidates, need(5, 100)).size(), 10U);
  EXPECT_EQ(choose_victims(candidates, need(5, 3)).size(), 6U);
}

TEST(Cleaning, NodesMayCostHalfOfWhatIsGained) {
  EXPECT_TRUE(pays(1, of_segment / 4, of_segment));
  EXPECT_FALSE(pays(1, of_segment / 4 + 1, of_segment));
  EXPECT_TRUE(pays(2, of_segment / 4 + 1, of_segment));
}

}  // namespace
}  // namespace lamina
