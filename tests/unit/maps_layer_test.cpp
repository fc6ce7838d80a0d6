// SPDX-License-Identifier: Apache-2.0

#include "engine/maps/layer.h"
#include "maps_model.h"

namespace lamina {
namespace {

std::vector<Extent> all(const Layer& layer) {
  std::vector<Extent> out;
  layer.for_each([&](const Extent& e) { out.push_back(e); });
  return out;
}

void insert(Layer& layer, BlockModel& model, const Extent& extent) {
  layer.insert(extent);
  if (extent.kind != ExtentKind::zero || extent.certain) return model.set(extent);
  // A zero becomes certain block by block.
  for (uint64_t b = extent.begin.value; b < std::min(extent.end.value, model.blocks.size()); ++b) {
    const auto& old = model.blocks[b];
    Extent zero = clip(extent, {b}, {b + 1});
    zero.certain = old && (old->kind != ExtentKind::zero || old->certain);
    model.blocks[b] = zero;
  }
  if (extent.end == device_end) model.tail = clip(extent, {model.blocks.size()}, device_end);
}

TEST(Layer, EqualsAnArrayWithOneEntryABlock) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    constexpr uint64_t size = 3000;
    RandomExtents random{std::mt19937_64(seed), size};
    Layer layer;
    BlockModel model(size);
    for (int round = 0; round < 2500; ++round) {
      insert(layer, model, random());
      if (round % 50 == 0 || round > 2490) {
        ASSERT_EQ(all(layer), model.extents()) << "seed " << seed << " round " << round;
        ASSERT_EQ(layer.extent_count(), model.extents().size());
      }
      const uint64_t begin = random.below(size), end = begin + 1 + random.below(size - begin);
      std::vector<Extent> found, expected;
      layer.lookup({{begin}, {end}}, found);
      if (round % 50 != 0) continue;
      for (const Extent& e : model.extents())
        if (e.range().overlaps({{begin}, {end}})) expected.push_back(clip(e, {begin}, {end}));
      ASSERT_EQ(found, expected) << "seed " << seed << " round " << round;
    }
  }
}

TEST(Layer, ManyExtentsInOrderFallingAndRandomStaySorted) {
  for (int order = 0; order < 3; ++order) {
    Layer layer;
    std::mt19937_64 random(7);
    for (uint64_t i = 0; i < 20000; ++i) {
      const uint64_t place = order == 0 ? i : order == 1 ? 20000 - i : random() % 20000;
      layer.insert(data_extent(2 * place, 1, 1, static_cast<uint32_t>(i)));
    }
    DeviceBlock end{};
    size_t count = 0;
    layer.for_each([&](const Extent& e) {
      EXPECT_LE(end, e.begin);
      end = e.end;
      ++count;
    });
    EXPECT_EQ(count, layer.extent_count());
    if (order < 2) {
      EXPECT_EQ(count, 20000u);
    }
    // A zero over everything leaves one certain zero where something was written.
    layer.insert(zero_extent(0, device_end.value, 9));
    EXPECT_GT(layer.extent_count(), 10000u);
    layer.insert(data_extent(0, 50000, 2, 0));
    EXPECT_EQ(layer.extent_count(), 2u);
    EXPECT_LT(layer.bytes(), 4000000u);
  }
}

TEST(Layer, AZeroIsCertainExactlyWhereTheLayerKnowsOfWrites) {
  Layer layer;
  layer.insert(data_extent(10, 5, 1, 0));
  layer.insert(lost_extent(20, 22, 1));
  layer.insert(zero_extent(30, 35, 1));
  layer.insert(zero_extent(0, 40, 2));
  std::vector<std::pair<uint64_t, bool>> ends;
  for (const Extent& e : all(layer)) ends.emplace_back(e.end.value, e.certain);
  EXPECT_EQ(ends, (std::vector<std::pair<uint64_t, bool>>{
                      {10, false}, {15, true}, {20, false}, {22, true}, {40, false}}));
  // Certain stays certain under another zero.
  layer.insert(zero_extent(12, 14, 3));
  std::vector<Extent> found;
  layer.lookup({{12}, {14}}, found);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_TRUE(found[0].certain);
}

TEST(Layer, SwapChangesOnlyPointersThatStillLieAtTheOldPlace) {
  Layer layer;
  layer.insert(data_extent(100, 50, 3, 1000));
  layer.insert(data_extent(110, 5, 4, 0));  // overwritten meanwhile
  const BlockCount moved =
      layer.swap_address({{90}, {140}}, {Generation{3}, 990}, {Generation{9}, 0});
  EXPECT_EQ(moved.value, 35u);
  const std::vector<Extent> expected = {data_extent(100, 10, 9, 10), data_extent(110, 5, 4, 0),
                                        data_extent(115, 25, 9, 25), data_extent(140, 10, 3, 1040)};
  EXPECT_EQ(all(layer), expected);
  EXPECT_EQ(layer.swap_address({{90}, {140}}, {Generation{3}, 991}, {Generation{9}, 0}).value, 0u);
}

TEST(Layer, SwapOfAHomeReachesZeroLostAndAliasButNotPlainData) {
  Layer layer;
  layer.insert(zero_extent(0, 10, 5));
  layer.insert(lost_extent(10, 20, 5));
  Extent alias = data_extent(20, 10, 7, 0);
  alias.alias = true;
  alias.home = Generation{5};
  layer.insert(alias);
  layer.insert(data_extent(30, 10, 5, 0));
  layer.insert(zero_extent(40, 50, 6));
  EXPECT_EQ(layer.swap_home({{5}, {60}}, Generation{5}, Generation{8}).value, 25u);
  std::vector<uint32_t> homes;
  for (const Extent& e : all(layer)) homes.push_back(raw(e.home));
  EXPECT_EQ(homes, (std::vector<uint32_t>{5, 8, 8, 8, 0, 6}));
}

TEST(Layer, ACursorSeeksBothWaysAndEnds) {
  Layer layer;
  Layer::Cursor none(layer);
  none.seek({5});
  EXPECT_TRUE(none.done());
  for (uint64_t i = 0; i < 1000; ++i) layer.insert(data_extent(10 * i, 5, 1, 0));
  Layer::Cursor cursor(layer);
  cursor.seek({5004});
  EXPECT_EQ(cursor->begin.value, 5000u);
  cursor.seek({5005});
  EXPECT_EQ(cursor->begin.value, 5010u);
  cursor.next();
  EXPECT_EQ(cursor->begin.value, 5020u);
  cursor.seek({0});
  size_t count = 0;
  for (; !cursor.done(); cursor.next()) ++count;
  EXPECT_EQ(count, 1000u);
}

TEST(Layer, RandomWritesAreCheapInTimeAndMemory) {
  constexpr size_t count = 250000;
  std::mt19937_64 random(1);
  Layer layer;
  const double begin = cpu_ns();
  for (size_t i = 0; i < count; ++i)
    layer.insert(data_extent(random() % (1u << 28), 1, static_cast<uint32_t>(1 + i / 2000),
                             static_cast<uint32_t>(i % 2000)));
  const double taken = cpu_ns() - begin;
  const double per_extent =
      static_cast<double>(layer.bytes()) / static_cast<double>(layer.extent_count());
  RecordProperty("insert_ns", static_cast<int>(taken / count));
  printf("insert: %.0f ns, %.1f bytes an extent\n", taken / count, per_extent);
  EXPECT_LT(per_extent, 44);
}

}  // namespace
}  // namespace lamina
