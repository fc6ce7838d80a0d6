// SPDX-License-Identifier: Apache-2.0
// The walk against a count of every block of every map, however it is made: in one pass or in many,
// by one thread or by several.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "blobs/uring_loop.h"
#include "engine/arena_workers.h"
#include "engine/space/walk.h"
#include "maps_memory_medium.h"

namespace lamina {
namespace {

constexpr BlockRange whole{DeviceBlock{0}, device_end};
constexpr uint32_t segment_blocks = 2048;

// Maps that share nodes, since some were forked from others, and blocks, since ranges were copied.
class Family {
 public:
  explicit Family(uint64_t seed) : random(seed), store(medium, 64 << 20), sink(medium, &store) {}

  template <class T>
  T run(Task<T> task) {
    return loop->run_until(std::move(task));
  }
  // A map with `blocks` random blocks of data out of `of`, and some zeroes.
  size_t create(uint64_t blocks, uint64_t of) {
    image->maps.push_back({MapId{image->maps.size() + 1}});
    last_forks.push_back(0);
    overwrite(image->maps.size() - 1, blocks, of);
    return image->maps.size() - 1;
  }
  size_t fork(size_t source) {
    ImageMap map = image->maps[source];
    map.map = MapId{image->maps.size() + 1};
    map.last_share = image->maps[source].last_share = ++sequence;
    last_forks[source] = sequence;
    last_forks.push_back(sequence);
    image->maps.push_back(map);
    return image->maps.size() - 1;
  }
  void overwrite(size_t map, uint64_t blocks, uint64_t of) {
    Layer layer;
    for (uint64_t i = 0; i < blocks; ++i) {
      const uint64_t at = random() % of;
      Extent extent{{at}, {at + 1 + random() % 3}};
      if (random() % 8 == 0) {
        extent.kind = ExtentKind::zero;
        extent.home = Generation{generation};
        extent.certain = true;
      } else {
        extent.address = next_address(extent.length());
      }
      layer.insert(extent);
    }
    merge_into(map, layer);
  }
  // Some pieces of data of one map, in another or in the same, elsewhere.
  void copy(size_t from, size_t to, size_t pieces, uint64_t of) {
    const std::vector<Extent> extents = all(from);
    Layer layer;
    for (size_t i = 0; i < pieces; ++i) {
      Extent extent = extents[random() % extents.size()];
      if (extent.kind != ExtentKind::data) continue;
      const uint64_t at = random() % of;
      extent.end = DeviceBlock{at} + extent.length();
      extent.begin = {at};
      extent.alias = true;
      extent.home = Generation{generation};
      layer.insert(extent);
    }
    merge_into(to, layer);
    image->maps[from].last_share = image->maps[to].last_share = ++sequence;
  }
  void merge_into(size_t map, const Layer& layer) {
    MergeInput input;
    input.map = image->maps[map].map;
    input.root = image->maps[map].root;
    input.last_fork = last_forks[map];
    input.birth = ++sequence;
    input.checkpoint = ++image->number;
    input.changes = {&layer};
    const Result<MergeOutput> output = run(merge(store, sink.table, input, sink, counts));
    ASSERT_TRUE(output) << output.error().message;
    image->maps[map].root = output->root;
    image->maps[map].mapped_blocks = output->mapped_blocks;
  }
  Address next_address(BlockCount length) {
    if (block + length.value > segment_blocks) {
      block = 0;
      ++generation;
    }
    const Address at{Generation{generation}, block};
    block += static_cast<uint32_t>(length.value);
    return at;
  }
  std::vector<Extent> all(size_t map) {
    std::vector<Extent> extents;
    EXPECT_TRUE(run(lookup(store, sink.table, image->maps[map].root, whole, extents)));
    return extents;
  }
  Result<WalkResult> walk_it(WalkOptions options) {
    options.segment_blocks = segment_blocks;
    for (const size_t map : snapshots) options.snapshots.insert(image->maps[map].map);
    image->nodes = sink.table;
    return run(walk(store, image, std::move(options)));
  }

  std::unique_ptr<UringLoop> loop = std::move(*UringLoop::create({}));
  std::mt19937_64 random;
  MemoryMedium medium;
  NodeStore store;
  TableSink sink;
  CountsOracle counts;
  std::shared_ptr<Image> image = std::make_shared<Image>();
  std::vector<Sequence> last_forks;
  std::set<size_t> snapshots;  // maps that nobody writes to
  Sequence sequence = 0;
  uint32_t generation = 1, block = 0;
};

// Blocks of the medium, and which maps refer to them.
struct Count {
  explicit Count(Family& family) {
    for (size_t map = 0; map < family.image->maps.size(); ++map)
      for (const Extent& extent : family.all(map)) {
        if (extent.kind != ExtentKind::data) continue;
        for (uint32_t i = 0; i < extent.length().value; ++i)
          referrers[extent.address + BlockCount{i}].insert(map);
      }
    exclusive.resize(family.image->maps.size());
    for (const auto& [address, maps] : referrers) {
      ++blocks[raw(address.generation)];
      if (maps.size() == 1) ++exclusive[*maps.begin()];
      if (std::includes(family.snapshots.begin(), family.snapshots.end(), maps.begin(), maps.end()))
        ++of_snapshots[raw(address.generation)];
    }
  }
  std::map<Address, std::set<size_t>> referrers;
  std::map<uint32_t, uint64_t> blocks, of_snapshots;  // by generation
  std::vector<uint64_t> exclusive;
};

void expect_counted(Family& family, const WalkResult& walked, bool figures = true) {
  Count count(family);
  EXPECT_EQ(walked.blocks, count.referrers.size());
  for (const auto& [generation, live] : walked.live) {
    const auto found = count.blocks.find(generation);
    EXPECT_EQ(live.blocks, found == count.blocks.end() ? 0 : found->second) << generation;
    EXPECT_TRUE(live.blocks > 0 || live.homes > 0);
    EXPECT_EQ(live.of_snapshots_alone, count.of_snapshots[generation]) << generation;
  }
  for (const auto& [generation, blocks] : count.blocks)
    EXPECT_TRUE(walked.live.contains(generation));
  ASSERT_EQ(walked.shares.size(), figures ? count.exclusive.size() : 0);
  for (size_t map = 0; map < walked.shares.size(); ++map) {
    EXPECT_EQ(walked.shares[map].exclusive, count.exclusive[map]) << map;
    EXPECT_EQ(walked.shares[map].mapped, family.image->maps[map].mapped_blocks);
  }
}

void expect_same(const WalkResult& a, const WalkResult& b) {
  EXPECT_EQ(a.blocks, b.blocks);
  EXPECT_EQ(a.extents, b.extents);
  EXPECT_EQ(a.nodes, b.nodes);
  EXPECT_EQ(a.unreachable, b.unreachable);
  ASSERT_EQ(a.referrers.size(), b.referrers.size());
  for (size_t i = 0; i < a.referrers.size(); ++i) {
    ASSERT_EQ(a.referrers[i].leaf, b.referrers[i].leaf);
    ASSERT_EQ(a.referrers[i].extent, b.referrers[i].extent);
  }
  for (const auto& [generation, live] : a.live) {
    EXPECT_EQ(live.blocks, b.live.at(generation).blocks);
    EXPECT_EQ(live.homes, b.live.at(generation).homes);
  }
}

// A map that nobody shares with, one and its forks, which diverged more or less, and copies.
std::unique_ptr<Family> large_family(uint64_t seed) {
  auto family = std::make_unique<Family>(seed);
  constexpr uint64_t of = 60000;
  family->create(3000, of);
  const size_t a = family->create(20000, of);
  const size_t b = family->fork(a);
  const size_t c = family->fork(b);
  family->overwrite(b, 10, of);
  family->overwrite(c, 6000, of);
  family->fork(b);
  family->overwrite(a, 300, of);
  const size_t d = family->create(100, of);
  family->copy(a, d, 500, of);
  family->copy(d, d, 100, of);
  family->copy(b, c, 200, of);
  family->fork(family->create(500, of));
  // One that is alone, and some of those that share, leaves or only blocks, with others that are
  // none; or nobody.
  if (seed > 1) family->snapshots = {0, b, 4, 6};
  return family;
}

TEST(Walk, CountsWhatEachMapHasAlone) {
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(seed);
    const auto family = large_family(seed);
    const auto walked = family->walk_it({});
    ASSERT_TRUE(walked) << walked.error().message;
    EXPECT_EQ(walked->passes, 1u);
    expect_counted(*family, *walked);
  }
}

TEST(Walk, FindsTheSameInManyPassesWithinLittleMemory) {
  const auto family = large_family(7);
  WalkOptions little;
  little.memory_bytes = 1;
  WalkOptions wanted;
  for (uint32_t generation = 1; generation < 9; ++generation)
    little.wanted.insert(Generation{generation});
  wanted.wanted = little.wanted;
  const auto walked = family->walk_it(little), once = family->walk_it(wanted);
  ASSERT_TRUE(walked && once);
  EXPECT_GT(walked->passes, 2u);
  EXPECT_GT(walked->referrers.size(), 1000u);
  expect_counted(*family, *walked);
  expect_same(*walked, *once);
  little.figures = false;
  const auto less = family->walk_it(little);
  ASSERT_TRUE(less);
  EXPECT_LE(less->passes, walked->passes);
  expect_counted(*family, *less, false);
}

TEST(Walk, FindsTheSameByManyThreads) {
  const auto family = large_family(8);
  ArenaWorkers workers(4, {});
  for (const uint64_t memory : {uint64_t{1}, uint64_t{30000}, WalkOptions::default_memory}) {
    SCOPED_TRACE(memory);
    WalkOptions options;
    options.wanted = {Generation{3}, Generation{5}};
    options.memory_bytes = memory;
    const auto alone = family->walk_it(options);
    options.workers = &workers;
    const auto walked = family->walk_it(options);
    ASSERT_TRUE(walked && alone);
    expect_counted(*family, *walked);
    expect_same(*walked, *alone);
  }
}

TEST(Walk, NeitherFillsTheCacheNorWarmsIt) {
  const auto family = large_family(9);
  const auto before = family->store.counters();
  ASSERT_TRUE(family->walk_it({}));
  EXPECT_EQ(family->store.counters().hits, before.hits);
  EXPECT_EQ(family->store.counters().misses, before.misses);
  EXPECT_EQ(family->store.counters().bytes, before.bytes);
}

TEST(Walk, EndsWhereANodeCannotBeRead) {
  auto family = large_family(10);
  std::vector<NodeId> ids;
  family->sink.table.for_each([&](NodeId id, const NodeEntry&) { ids.push_back(id); });
  family->image->nodes = family->sink.table;
  NodeStore cold(family->medium, 0);
  for (const NodeId id : {ids.front(), ids[ids.size() / 2], ids.back()}) {
    for (const Address& copy : family->sink.table.at(id).copies)
      family->medium.failing.insert(copy);
    WalkOptions options;
    options.segment_blocks = segment_blocks;
    const auto walked = family->run(walk(cold, family->image, options));
    ASSERT_FALSE(walked);
    EXPECT_EQ(walked.error().code, Code::io);
    family->medium.failing.clear();
  }
}

TEST(Walk, EndsWhenItIsToldTo) {
  auto family = large_family(11);
  WalkOptions options;
  options.go_on = []() -> Result<> { return fail(Code::busy); };
  const auto walked = family->walk_it(options);
  ASSERT_FALSE(walked);
  EXPECT_EQ(walked.error().code, Code::busy);
}

}  // namespace
}  // namespace lamina
