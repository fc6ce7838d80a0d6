// SPDX-License-Identifier: Apache-2.0
// Inner nodes of which no copy is left, alone and with others, while the pool is open (B8): nothing
// is lost, nothing is wrong, and no repair is needed. And how their ranges are put together.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "engine/heal/cover.h"
#include "engine_damage_fixture.h"

namespace lamina {
namespace {

using FoundNode = MetadataPlaces::FoundNode;

// The same family with small nodes, so that its maps have three levels; and a snapshot that shares
// most of its leaves.
class PoolOfDeepMaps : public PoolWithDamage {
 protected:
  void SetUp() override {
    settings_.node_fill_bytes = 192;
    PoolWithDamage::SetUp();
    snapshot("disk", "late");
    for (int i = 0; i < 20; ++i) put("disk", noise_() % device_blocks);
    checkpoint_twice();
  }
  void checkpoint_twice() {
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(wait(pool_->checkpoint()));
  }
  // In the order of their ids, so that levels and maps are mixed.
  std::vector<FoundNode> inner_nodes() {
    std::vector<FoundNode> out;
    for (const auto& [id, node] : nodes())
      if (node.header.level > 0) out.push_back(node);
    return out;
  }
  void spoil(const FoundNode& node) {
    for (const Place& place : node.places) PoolWithDamage::spoil(place);
  }
  void expect_nothing_lost(const std::string& what) {
    expect_all(what);
    expect_healed(what);
    for (const auto& line : told_) EXPECT_EQ(line.find("cannot"), std::string::npos) << line;
    ASSERT_TRUE(wait(pool_->count_shares()));
  }
};

TEST_P(PoolOfDeepMaps, AnInnerNodeAloneIsPutTogetherAgain) {
  std::map<uint32_t, int> levels;
  for (const FoundNode& node : inner_nodes()) {
    if (++levels[node.header.level] > 2) continue;
    SCOPED_TRACE("node " + std::to_string(raw(node.header.id)) + " of level " +
                 std::to_string(node.header.level));
    spoil(node);
    expect_nothing_lost("one inner node");
    if (HasFailure()) return;
  }
  EXPECT_GE(levels[2], 2) << "maps are not as deep as they are meant to be";
}

// Written to before anybody has read them: whoever has them copies what was made before it changes
// it.
TEST_P(PoolOfDeepMaps, WhatWasMadeAgainIsSharedAsBefore) {
  for (const FoundNode& node : inner_nodes())
    if (node.header.level == 1) {
      spoil(node);
      break;
    }
  for (const char* name : {"disk", "snap", "late"})
    for (int i = 0; i < 60; ++i) put(name, noise_() % device_blocks);
  checkpoint_twice();
  expect_nothing_lost("one inner node");
}

TEST_P(PoolOfDeepMaps, AnInnerNodeAndSomeOfWhatIsBelowAreMadeAgain) {
  std::map<uint32_t, int> done;
  for (int round = 0; round < 3; ++round) {
    const std::map<NodeId, FoundNode> all = nodes();
    std::vector<FoundNode> inner = inner_nodes();
    const FoundNode& chosen = inner[noise_() % inner.size()];
    SCOPED_TRACE("node " + std::to_string(raw(chosen.header.id)) + " of level " +
                 std::to_string(chosen.header.level) + ", round " + std::to_string(round));
    ++done[chosen.header.level];
    spoil(chosen);
    for (const auto& [id, node] : all) {
      const bool below = chosen.header.begin <= node.header.begin &&
                         node.header.end <= chosen.header.end &&
                         node.header.level < chosen.header.level;
      if (below && noise_() % 4 == 0) spoil(node);
    }
    expect_nothing_lost("an inner node and a quarter of what is below");
    if (HasFailure()) return;
    for (int i = 0; i < 10; ++i) put(i % 2 == 0 ? "disk" : "late", noise_() % device_blocks);
    checkpoint_twice();
  }
  EXPECT_GE(done[1], 1);
}

TEST_P(PoolOfDeepMaps, AllNodesOfAllMapsAreMadeAgain) {
  close();
  for (const auto& [id, node] : nodes()) spoil(node);
  open();
  if (HasFatalFailure()) return;
  for (int i = 0; i < 50; ++i) put(i % 2 == 0 ? "disk" : "snap", noise_() % device_blocks);
  expect_nothing_lost("all nodes");
  if (HasFailure()) return;
  close();
  open();
  expect_all("in the end");
  EXPECT_EQ(pool_->status().rebuilt_nodes, 0u);
}

// A checkpoint would have to merge through it, and would fail with all that others have written.
TEST_P(PoolOfDeepMaps, WhereNothingTellsNothingIsChangedAndTheRestGoesOn) {
  if (GetParam() == std::nullopt) GTEST_SKIP() << "records tell of all that is in the log";
  for (const auto& [what, places] : classes())
    if (what.starts_with("summary") && !what.ends_with(" class 1"))
      for (const Place& place : places) PoolWithDamage::spoil(place);
  close();
  open();
  const std::vector<FoundNode> inner = inner_nodes();
  const auto lost = std::ranges::find_if(inner, [](const FoundNode& node) {
    return node.header.level == 1 && node.header.end.value < device_blocks;
  });
  ASSERT_NE(lost, inner.end());
  const BlockRange destroyed{lost->header.begin, lost->header.end};
  for (const auto& [id, node] : nodes())
    if (destroyed.begin <= node.header.begin && node.header.end <= destroyed.end) spoil(node);

  std::set<std::string> losers;
  for (const auto& [name, versions] : devices_) {
    std::vector<std::byte> got(block_size);
    const auto at = destroyed.begin.byte_offset();
    if (!wait(pool_->read(pool_->find(name)->id, at, got))) losers.insert(name);
  }
  ASSERT_FALSE(losers.empty());
  const std::string loser = *losers.begin();
  BlockRange range = destroyed;
  for (const LostRange& listed : pool_->lost())
    if (listed.name == loser && listed.range.contains(range.begin)) range = listed.range;
  const auto change = [&](const std::string& name, uint64_t block) {
    return wait(pool_->write(pool_->find(name)->id, block * block_size, content(1)));
  };
  const auto discard = [&](const std::string& name, uint64_t begin, uint64_t end) {
    return wait(
        pool_->erase(pool_->find(name)->id, begin * block_size, (end - begin) * block_size));
  };
  const DeviceId id = pool_->find(loser)->id;
  EXPECT_EQ(change(loser, range.end.value - 1).error().code, Code::io);
  EXPECT_EQ(discard(loser, range.begin.value + 1, device_blocks).error().code, Code::io);
  EXPECT_EQ(wait(pool_->resize(id, (range.begin.value + 1) * block_size)).error().code, Code::io);
  const uint64_t to = range.begin.byte_offset(), from = device_blocks / 2 * block_size;
  EXPECT_FALSE(wait(pool_->copy(pool_->find("other")->id, from, id, to, block_size)));
  snapshot(loser, "fork");
  losers.insert("fork");
  EXPECT_EQ(change("fork", range.begin.value).error().code, Code::io);

  // Nobody else notices.
  for (const auto& [name, versions] : devices_) {
    put(name, destroyed.end.value);
    if (!losers.contains(name)) put(name, destroyed.begin.value);
  }
  for (int i = 0; i < 3; ++i) {
    const auto made = wait(pool_->checkpoint());
    ASSERT_TRUE(made) << made.error().message << "; " << told_.back();
  }
  EXPECT_EQ(pool_->status().health, "ok");
  ASSERT_TRUE(wait(pool_->create("new", device_blocks * block_size, {})));
  put("new", 7);

  // All of it can be given up.
  ASSERT_TRUE(discard(loser, range.begin.value, range.end.value));
  EXPECT_EQ(change(loser, range.begin.value).error().code, Code::io) << "the node is still there";
  ASSERT_TRUE(wait(pool_->checkpoint()));
  put(loser, range.begin.value);
  ASSERT_TRUE(wait(pool_->checkpoint()));
  expect_content(id, range.begin.byte_offset(), content(devices_[loser][range.begin.value]));
  const auto last = (range.end - BlockCount{1}).byte_offset();
  expect_content(id, last, std::vector<std::byte>(block_size));
  expect_all("but for those that had the node", losers);
  close();
  open();
  expect_all("in the end", losers);
}

INSTANTIATE_TEST_SUITE_P(Kinds, PoolOfDeepMaps,
                         testing::Values(std::nullopt, BlobKind::compression), [](const auto& one) {
                           return one.param ? name_of(*one.param) : std::string("journal");
                         });

// A pool whose node table has nodes that no map has any more: of a snapshot that is gone, not swept
// yet. One of them fits where the lost node has a leaf that another map has, too.
class PoolWithLeftovers : public PoolWithDamage {
 protected:
  void SetUp() override {
    settings_.node_fill_bytes = 700;
    format();
    open();
  }
};

TEST_P(PoolWithLeftovers, ALeafOfAMapThatIsGoneIsNotTakenForOneThatIsShared) {
  ASSERT_TRUE(wait(pool_->create("disk", device_blocks * block_size, {})));
  std::mt19937_64 random(3);
  for (int i = 0; i < 400; ++i) put("disk", random() % device_blocks);
  ASSERT_TRUE(wait(pool_->checkpoint()));
  std::vector<FoundNode> leaves;
  for (const auto& [id, node] : nodes())
    if (node.header.level == 0) leaves.push_back(node);
  ASSERT_EQ(leaves.size(), 2u);
  const uint64_t left = devices_["disk"].begin()->first, right = devices_["disk"].rbegin()->first;
  snapshot("disk", "gone");
  put("disk", left);
  ASSERT_TRUE(wait(pool_->checkpoint()));  // a left leaf of its own, the right one shared
  snapshot("disk", "kept");
  put("disk", right);
  ASSERT_TRUE(wait(pool_->checkpoint()));
  ASSERT_TRUE(wait(pool_->remove("gone")));
  devices_.erase("gone");
  close();
  // The root of what "kept" is, and "disk" was before.
  std::vector<FoundNode> roots;
  for (const auto& [id, node] : nodes())
    if (node.header.level == 1) roots.push_back(node);
  std::ranges::sort(roots, {}, [](const FoundNode& node) { return node.header.birth; });
  ASSERT_EQ(roots.size(), 3u) << "what is left over has been swept already";
  for (const Place& place : roots[1].places) spoil(place);
  open();
  expect_all("in the end");
  expect_healed("the root of a snapshot");
}

INSTANTIATE_TEST_SUITE_P(Journal, PoolWithLeftovers, testing::Values(std::optional<BlobKind>()));

class Covers : public testing::Test {
 protected:
  static BlockRange range(uint64_t begin, uint64_t end) {
    return {DeviceBlock{begin}, DeviceBlock{end}};
  }
  static Cover::Piece piece(uint64_t id, uint64_t begin, uint64_t end) {
    return {NodeId{id}, range(begin, end), 1};
  }
  // One block every ten, each by itself.
  static std::vector<Extent> extents(uint64_t end) {
    std::vector<Extent> out;
    for (uint64_t at = 0; at < end; at += 10) {
      Extent extent;
      extent.begin = DeviceBlock{at};
      extent.end = DeviceBlock{at + 1};
      extent.address = {Generation{static_cast<uint32_t>(1 + at)}, 7};
      out.push_back(extent);
    }
    return out;
  }
  std::vector<uint64_t> ids(const Result<std::vector<Cover::Piece>>& pieces) {
    std::vector<uint64_t> out;
    DeviceBlock at{0};
    for (const Cover::Piece& one : *pieces) {
      EXPECT_EQ(one.range.begin, at);
      at = one.range.end;
      out.push_back(raw(one.id));
    }
    return out;
  }
  uint64_t next_id_ = 100, last_id_ = 1000;
  std::function<Result<NodeId>(uint32_t)> take_ = [this](uint32_t) -> Result<NodeId> {
    if (next_id_ > last_id_) return fail(Code::corrupt, "none is left");
    return NodeId{next_id_++};
  };
};

TEST_F(Covers, NodesThatServeAreTakenAndOnlyWhatIsBetweenIsMade) {
  const std::vector<Extent> said = extents(200);
  Cover cover(said, MapId{1}, block_size, take_);
  cover.add(0, piece(1, 0, 50));
  cover.add(0, piece(2, 100, 200));
  EXPECT_EQ(ids(cover.over(0, range(0, 200))), (std::vector<uint64_t>{1, 100, 2}));
  ASSERT_EQ(cover.made().size(), 1u);
  EXPECT_EQ(cover.made()[0].extents, cover.said(range(50, 100)));
  EXPECT_EQ(cover.made()[0].header.mapped_blocks, 5u);
}

// Both begin at 0; the longer one leaves a gap.
TEST_F(Covers, OfSeveralWaysTheOneWithTheSmallestGaps) {
  const std::vector<Extent> said = extents(300);
  Cover cover(said, MapId{1}, block_size, take_);
  cover.add(0, piece(1, 0, 120));
  cover.add(0, piece(2, 0, 100));
  cover.add(0, piece(3, 100, 300));
  EXPECT_EQ(ids(cover.over(0, range(0, 300))), (std::vector<uint64_t>{2, 3}));
  EXPECT_TRUE(cover.made().empty());
}

TEST_F(Covers, WhatIsMissingOnALevelIsMadeOfWhatServesBelow) {
  const std::vector<Extent> said = extents(4000);
  Cover cover(said, MapId{1}, 256, take_);
  cover.add(0, piece(1, 0, 2000));
  cover.add(1, piece(2, 2500, 4000));
  const auto pieces = cover.over(1, range(0, 4000));
  ASSERT_TRUE(pieces);
  EXPECT_EQ(pieces->back().id, NodeId{2});
  uint64_t leaves = 0, blocks = 0;
  for (const Node& node : cover.made()) {
    EXPECT_TRUE(fits(node));
    leaves += node.header.level == 0;
    if (node.header.level == 0) blocks += node.header.mapped_blocks;
  }
  EXPECT_GE(leaves, 1u);
  EXPECT_EQ(blocks, 50u) << "of 2000 to 2500";
  const Node& above = cover.made().back();
  EXPECT_EQ(above.header.level, 1u);
  EXPECT_EQ(above.children.front(), (Child{DeviceBlock{0}, NodeId{1}}));
}

TEST_F(Covers, WithoutIdsNothingIsMade) {
  const std::vector<Extent> said = extents(4000);
  last_id_ = 100;
  Cover cover(said, MapId{1}, 256, take_);
  EXPECT_FALSE(cover.over(0, range(0, 4000)));
}

}  // namespace
}  // namespace lamina
