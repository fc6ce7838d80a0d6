// SPDX-License-Identifier: Apache-2.0
// One block of metadata after the other is destroyed, of every class, while the pool is open and
// while it is closed: nothing is lost, nothing is wrong, no repair is needed, and what was bad is
// good again.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "engine_damage_fixture.h"

namespace lamina {
namespace {

TEST_P(PoolWithDamage, ABlockOfAnyClassThatGoesBadWhileItIsOpenCostsNothing) {
  for (const auto& [what, places] : some(classes(), 1))
    for (const Place& place : places) {
      SCOPED_TRACE(what + " at " + std::to_string(place.offset));
      spoil(place);
      expect_all(what);
      expect_healed(what);
      put("disk", version_ % device_blocks);
      ASSERT_TRUE(wait(pool_->checkpoint()));
      if (HasFatalFailure()) return;
    }
  close();
  open();
  expect_all("at the end");
}

TEST_P(PoolWithDamage, ABlockOfAnyClassThatGoesBadWhileItIsClosedCostsNothing) {
  close();
  const Classes all = some(classes(), 1);
  for (const auto& [what, places] : all)
    for (const Place& place : places) {
      SCOPED_TRACE(what + " at " + std::to_string(place.offset));
      spoil(place);
      open();
      if (HasFatalFailure()) return;
      expect_all(what);
      expect_healed(what);
      close();
      if (HasFatalFailure()) return;
    }
  open();
  expect_all("at the end");
}

TEST_P(PoolWithDamage, ABlockOfAnyClassThatGoesBadWithACrashCostsNothing) {
  for (int round = 0; round < 1; ++round) {
    std::set<std::string> done;
    for (bool more = true; more;) {
      more = false;
      crash();
      for (const auto& [what, places] : classes()) {
        if (!done.insert(what).second) continue;
        // The newest record has no witness but itself (B5), and the first header of a segment none
        // before the next: those are others' tests.
        if (what == "record") continue;
        SCOPED_TRACE(what);
        spoil(places[noise_() % places.size()]);
        open();
        if (HasFatalFailure()) return;
        expect_all(what);
        expect_healed(what);
        put("disk", version_ % device_blocks);
        ASSERT_TRUE(wait(pool_->flush(pool_->find("disk")->id)));
        if (HasFatalFailure()) return;
        more = true;
        break;
      }
      if (!more) open();
    }
  }
}

TEST_P(PoolWithDamage, ANodeWithoutAnyCopyIsMadeAgainWhileItIsOpen) {
  std::map<uint32_t, int> done;
  for (const auto& [id, node] : nodes()) {
    if (++done[node.header.level] > 5) continue;
    SCOPED_TRACE("node " + std::to_string(raw(id)) + " of level " +
                 std::to_string(node.header.level) + ", blocks from " +
                 std::to_string(node.header.begin.value));
    for (const Place& place : node.places) spoil(place);
    expect_all("both copies");
    if (HasFatalFailure()) {
      for (const auto& line : told_) ADD_FAILURE() << line;
      return;
    }
  }
  EXPECT_GE(done[0], 4);
  EXPECT_GE(done[1], 1);
  sleep();
  EXPECT_GT(pool_->status().rebuilt_nodes, 0u);
  expect_healed("both copies");
  ASSERT_TRUE(wait(pool_->count_shares()));
  close();
  open();
  expect_all("after a while");
  EXPECT_EQ(pool_->status().rebuilt_nodes, 0u);
}

TEST_P(PoolWithDamage, ANodeWithoutAnyCopyIsMadeAgainAfterMounting) {
  close();
  for (const bool inner : {false, true}) {
    for (const auto& [id, node] : nodes())
      if ((node.header.level > 0) == inner)
        for (const Place& place : node.places) spoil(place);
    open();
    if (HasFatalFailure()) return;
    // Whoever comes first: a merge, a walk, or a reader.
    for (int i = 0; i < 50; ++i) put(i % 2 == 0 ? "disk" : "snap", noise_() % device_blocks);
    ASSERT_TRUE(wait(pool_->checkpoint()));
    ASSERT_TRUE(wait(pool_->count_shares()));
    expect_all(inner ? "all inner nodes" : "all leaves");
    for (const auto& line : told_) EXPECT_EQ(line.find("cannot"), std::string::npos) << line;
    expect_healed("all of them");
    close();
  }
  open();
  expect_all("in the end");
}

// Both the leaf and what else tells of it: that range alone is EIO, listed, never zeroes, and the
// pool goes on; what is written there afterwards is there.
TEST_P(PoolWithDamage, WhatNothingTellsIsEioInThatRangeAlone) {
  if (GetParam() == std::nullopt) GTEST_SKIP() << "records tell of all that is in the log";
  const Classes all = classes();
  for (const auto& [what, places] : all)
    if (what.starts_with("summary") && !what.ends_with(" class 1"))
      for (const Place& place : places) spoil(place);
  close();
  open();
  std::set<std::string> losers;
  BlockRange range{};
  for (const auto& [id, node] : nodes()) {
    if (node.header.level > 0 || !losers.empty()) continue;
    for (const Place& place : node.places) spoil(place);
    range = {node.header.begin, std::min(node.header.end, DeviceBlock{device_blocks})};
    for (const auto& [name, versions] : devices_) {
      std::vector<std::byte> got(block_size);
      for (uint64_t block = 0; block < device_blocks; ++block) {
        const auto read = wait(pool_->read(pool_->find(name)->id, block * block_size, got));
        const auto found = versions.find(block);
        if (read) {
          ASSERT_EQ(got, content(found == versions.end() ? 0 : found->second)) << name << block;
          continue;
        }
        losers.insert(name);
        ASSERT_TRUE(range.begin.value <= block && block < range.end.value) << name << block;
      }
    }
  }
  ASSERT_FALSE(losers.empty());
  for (const LostRange& lost : pool_->lost()) {
    EXPECT_TRUE(losers.contains(lost.name)) << lost.name;
    EXPECT_EQ(lost.range, range);
  }
  EXPECT_EQ(pool_->lost().size(), losers.size());
  EXPECT_FALSE(wait(pool_->count_shares())) << "a walk must not pass over it (A8)";
  // A merge needs it: the rest of it is lost for good now, and nothing else.
  const uint64_t block = range.begin.value + 3;
  for (const std::string& name : losers) put(name, block);
  const auto merged = wait(pool_->checkpoint());
  ASSERT_TRUE(merged) << merged.error().message << "; " << told_.back();
  EXPECT_EQ(pool_->status().health, "ok");
  close();
  open();
  for (const std::string& name : losers) {
    std::vector<std::byte> got(block_size);
    ASSERT_TRUE(wait(pool_->read(pool_->find(name)->id, block * block_size, got)));
    EXPECT_EQ(got, content(devices_[name][block]));
    EXPECT_EQ(wait(pool_->read(pool_->find(name)->id, (block + 1) * block_size, got)).error().code,
              Code::io);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, PoolWithDamage,
                         testing::Values(std::nullopt, BlobKind::transparent,
                                         BlobKind::compression),
                         [](const auto& one) {
                           return one.param ? name_of(*one.param) : std::string("journal");
                         });

}  // namespace
}  // namespace lamina
