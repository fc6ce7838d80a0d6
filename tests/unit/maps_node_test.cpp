// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "engine/maps/node.h"
#include "engine/maps/node_format.h"
#include "maps_model.h"

namespace lamina {
namespace {

const Secret secret{std::byte{1}, std::byte{2}};
const MetadataPlace node_place{BlobId{1}, 7, Generation{99}, 12};

Node leaf_of(std::vector<Extent> extents) {
  Node node;
  node.header = {.id = NodeId{5}, .birth = 17, .checkpoint = 3, .map = MapId{4}};
  node.header.end = device_end;
  for (const Extent& e : extents)
    if (e.kind == ExtentKind::data) node.header.mapped_blocks += e.length().value;
  node.extents = std::move(extents);
  return node;
}

Buffer packed(const Node& node) {
  Buffer block(block_size);
  pack_node(node, block.span());
  stamp_node(block.span(), secret, node_place);
  return block;
}

std::vector<Extent> random_extents(uint64_t seed, size_t count) {
  RandomExtents random{std::mt19937_64(seed), 6};
  std::vector<Extent> extents;
  uint64_t at = random.below(1000000);
  while (extents.size() < count) {
    Extent e = random();
    uint64_t length = e.length().value;
    if (e.end == device_end) length = random.below(5) == 0 ? 1u << 30 : 100;
    if (e.kind == ExtentKind::data && random.below(50) == 0)
      e.address = {Generation{static_cast<uint32_t>(random.random()) | 1},
                   static_cast<uint32_t>(random.random())};
    at += random.below(3) == 0 ? 0 : random.below(40);
    e.begin = {at};
    at += length;
    e.end = {at};
    extents.push_back(e);
  }
  return extents;
}

TEST(Node, UnpacksToWhatWasPacked) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const std::vector<Extent> extents = random_extents(seed, 1 + seed * 7 % 900);
    const size_t fitting = leaf_prefix_that_fits(extents);
    ASSERT_GE(fitting, 1u);
    const Node node = leaf_of({extents.begin(), extents.begin() + static_cast<ptrdiff_t>(fitting)});
    ASSERT_TRUE(fits(node));
    const Buffer block = packed(node);
    const auto verified = verify_node(block.span(), secret, node_place);
    ASSERT_TRUE(verified) << verified.error().message;
    const auto unpacked = unpack_node(block.span());
    ASSERT_TRUE(unpacked) << unpacked.error().message;
    ASSERT_EQ(unpacked->extents, node.extents) << "seed " << seed;
    EXPECT_EQ(unpacked->header.mapped_blocks, node.header.mapped_blocks);
    EXPECT_EQ(unpacked->header.birth, 17u);
    EXPECT_EQ(unpacked->header.checkpoint, 3u);
    EXPECT_EQ(unpacked->header.map, MapId{4});
    EXPECT_EQ(unpacked->header.end, device_end);
    EXPECT_TRUE(NodeView(block.span()).leaf());
  }
}

TEST(Node, ThePrefixThatFitsIsTheLongest) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::mt19937_64 random(seed);
    std::vector<Extent> extents;
    for (uint64_t at = 0; extents.size() < 4000; at += 1 + random() % 9)
      extents.push_back(data_extent(at, 1, static_cast<uint32_t>(1 + random() % 500),
                                    static_cast<uint32_t>(random() % 2048)));
    const size_t fitting = leaf_prefix_that_fits(extents);
    ASSERT_LT(fitting, extents.size());
    EXPECT_TRUE(
        fits(leaf_of({extents.begin(), extents.begin() + static_cast<ptrdiff_t>(fitting)})));
    EXPECT_FALSE(
        fits(leaf_of({extents.begin(), extents.begin() + static_cast<ptrdiff_t>(fitting) + 1})));
  }
  // One is always taken: there is no extent that would not fit alone.
  const Extent widest = {.begin = {0},
                         .end = device_end,
                         .alias = true,
                         .address = {Generation{UINT32_MAX}, UINT32_MAX},
                         .home = Generation{UINT32_MAX}};
  EXPECT_TRUE(fits(leaf_of({widest})));
}

TEST(Node, AViewFindsWhatALinearSearchFinds) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    std::vector<Extent> extents = random_extents(seed, 800);
    extents.resize(leaf_prefix_that_fits(extents));
    const Buffer block = packed(leaf_of(extents));
    std::mt19937_64 random(seed);
    const uint64_t first = extents.front().begin.value;
    const uint64_t span = extents.back().end.value - first + 200;
    for (int i = 0; i < 300; ++i) {
      uint64_t begin = (first > 100 ? first - 100 : 0) + random() % span;
      if (i % 2 == 0) begin = extents[random() % extents.size()].begin.value + random() % 3;
      const BlockRange range{{begin}, {begin + 1 + (i % 5 == 0 ? random() % span : random() % 30)}};
      std::vector<Extent> found, expected;
      ASSERT_TRUE(NodeView(block.span()).lookup(range, found));
      for (const Extent& e : extents)
        if (e.range().overlaps(range)) expected.push_back(clip(e, range.begin, range.end));
      ASSERT_EQ(found, expected);
    }
  }
}

TEST(Node, AnInnerNodeHoldsFourHundredChildrenAndFindsThem) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 20; ++round) {
    Node node;
    node.header = {.id = NodeId{9}, .birth = 1, .level = 1};
    std::vector<Child> children;
    uint64_t at = random() % 1000;
    const uint64_t start = at;
    for (int i = 0; i < 3000; ++i) {
      children.push_back({{at}, NodeId{1 + random() % 2000000}});
      at += 1 + random() % (round % 2 == 0 ? 20000 : 2000000);
    }
    children.resize(inner_prefix_that_fits(children));
    EXPECT_GE(children.size(), 400u);
    node.header.begin = {start};
    node.header.end = {at};
    node.children = children;
    ASSERT_TRUE(fits(node));
    const Buffer block = packed(node);
    ASSERT_TRUE(verify_node(block.span(), secret, node_place));
    const auto unpacked = unpack_node(block.span());
    ASSERT_TRUE(unpacked);
    ASSERT_EQ(unpacked->children, children);
    for (int i = 0; i < 500; ++i) {
      const DeviceBlock key{start + random() % (at - start)};
      const auto after =
          std::upper_bound(children.begin(), children.end(), key,
                           [](DeviceBlock k, const Child& c) { return k < c.begin; });
      const NodeView::Step step = NodeView(block.span()).child_for(key);
      ASSERT_EQ(step.id, std::prev(after)->id);
      ASSERT_EQ(step.begin, std::prev(after)->begin);
      ASSERT_EQ(step.end, after == children.end() ? DeviceBlock{at} : after->begin);
    }
  }
}

TEST(Node, IsRefusedAtAnotherPlaceWithAnotherSecretOrWithOneBitChanged) {
  const Buffer good = packed(leaf_of({data_extent(3, 4, 5, 6), zero_extent(20, 30, 2)}));
  ASSERT_TRUE(verify_node(good.span(), secret, node_place));
  MetadataPlace other = node_place;
  other.block = 13;
  EXPECT_FALSE(verify_node(good.span(), secret, other));
  EXPECT_FALSE(verify_node(good.span(), Secret{}, node_place));
  for (size_t bit = 0; bit < block_size * 8; bit += 37) {
    Buffer bad(block_size);
    std::memcpy(bad.data(), good.data(), block_size);
    bad.data()[bit / 8] ^= std::byte{1} << (bit % 8);
    const auto result = verify_node(bad.span(), secret, node_place);
    ASSERT_FALSE(result);
    ASSERT_EQ(result.error().code, Code::corrupt);
  }
}

// Damage that carries a good checksum, as only a bug or an attacker with the secret can make.
TEST(Node, NonsenseWithAGoodChecksumIsRefusedOrReadsAsAValidNode) {
  std::mt19937_64 random(11);
  size_t accepted = 0, refused = 0;
  for (int round = 0; round < 20000; ++round) {
    static std::vector<Buffer> originals = [] {
      std::vector<Buffer> list;
      for (uint64_t seed = 0; seed < 16; ++seed) {
        std::vector<Extent> extents = random_extents(seed, 700);
        extents.resize(leaf_prefix_that_fits(extents));
        list.push_back(packed(leaf_of(extents)));
        Node inner;
        inner.header = {.id = NodeId{2}, .begin = {0}, .end = device_end, .level = 1};
        for (uint64_t i = 0; i < 300; ++i) inner.children.push_back({{i * i * 9}, NodeId{i + 1}});
        list.push_back(packed(inner));
      }
      return list;
    }();
    Buffer block(block_size);
    std::memcpy(block.data(), originals[random() % originals.size()].data(), block_size);
    const size_t reach = random() % 2 == 0 ? 144 : random() % 2 == 0 ? 600 : block_size;
    for (size_t n = 1 + random() % 6; n > 0; --n)
      block.data()[random() % reach] =
          random() % 3 == 0 ? std::byte{0xff} : static_cast<std::byte>(random());
    stamp_node(block.span(), secret, node_place);
    const NodeView view(block.span());
    const BlockRange range{{random() % 100000}, {random() % (uint64_t{1} << (random() % 60))}};
    std::vector<Extent> found;
    bool answered = false;
    if (view.leaf())
      answered = view.lookup(range, found);
    else
      view.child_for(range.begin);
    if (!verify_node(block.span(), secret, node_place)) continue;
    const auto node = unpack_node(block.span());
    if (!node) {
      ASSERT_EQ(node.error().code, Code::corrupt);
      ++refused;
      continue;
    }
    ++accepted;
    // Where every row is good a view answers what they say.
    if (view.leaf()) {
      ASSERT_EQ(answered, range.begin >= node->header.begin && range.end <= node->header.end);
      std::vector<Extent> expected;
      for (const Extent& e : node->extents)
        if (e.range().overlaps(range)) expected.push_back(clip(e, range.begin, range.end));
      if (answered) {
        ASSERT_EQ(found, expected);
      }
    }
    DeviceBlock end = node->header.begin;
    for (const Extent& e : node->extents) {
      ASSERT_LE(end, e.begin);
      ASSERT_LT(e.begin, e.end);
      end = e.end;
    }
    ASSERT_LE(end, node->header.end);
    for (const Child& child : node->children) ASSERT_LT(child.begin, node->header.end);
  }
  EXPECT_GT(accepted, 0u);
  EXPECT_GT(refused, 0u);
}

// Bytes an extent over as many leaves as it takes, headers and directories included.
double bytes_an_extent(const char* what, const std::vector<Extent>& extents) {
  size_t leaves = 0;
  const double begin = cpu_ns();
  Buffer block(block_size);
  for (std::span<const Extent> rest = extents; !rest.empty(); ++leaves) {
    const size_t count = leaf_prefix_that_fits(rest);
    pack_node(leaf_of({rest.begin(), rest.begin() + static_cast<ptrdiff_t>(count)}), block.span());
    rest = rest.subspan(count);
  }
  const double taken = cpu_ns() - begin;
  const double bytes =
      static_cast<double>(leaves * block_size) / static_cast<double>(extents.size());
  printf("%s: %zu extents, %.2f bytes each, packed in %.0f ns each\n", what, extents.size(), bytes,
         taken / static_cast<double>(extents.size()));
  return bytes;
}

// `writes` random writes of 1..longest blocks over `device` blocks, logged in order into segments
// of 2048 blocks; `filled`: over a device that was written front to back before.
std::vector<Extent> written(uint64_t device, uint64_t writes, uint64_t longest, bool filled,
                            uint64_t hot_percent = 0) {
  std::mt19937_64 random(5);
  std::vector<uint64_t> places(device, 0);  // 0: not written
  uint64_t log = 1;
  if (filled)
    for (uint64_t b = 0; b < device; ++b) places[b] = log++;
  for (uint64_t w = 0; w < writes; ++w) {
    const bool hot = random() % 100 < hot_percent;
    const uint64_t begin = random() % (hot ? device / 5 : device);
    for (uint64_t b = begin; b < std::min(device, begin + 1 + random() % longest); ++b)
      places[b] = log++;
  }
  std::vector<Extent> extents;
  for (uint64_t b = 0; b < device; ++b) {
    if (places[b] == 0) continue;
    const Extent e = data_extent(b, 1, static_cast<uint32_t>(100 + places[b] / 2048),
                                 static_cast<uint32_t>(places[b] % 2048));
    if (!extents.empty() && continues(extents.back(), e))
      extents.back().end = e.end;
    else
      extents.push_back(e);
  }
  return extents;
}

TEST(Node, AnExtentTakesLittleMoreThanItsEntropy) {
  constexpr uint64_t blocks_per_gib = gib / block_size;
  EXPECT_LE(bytes_an_extent("random 4K, 4 GiB, half covered",
                            written(4 * blocks_per_gib, 700000, 1, false)),
            4.3);
  bytes_an_extent("random 4K-128K, 8 GiB", written(8 * blocks_per_gib, 60000, 32, false));
  bytes_an_extent("sequential, then 10 % random 4K, 4 GiB",
                  written(4 * blocks_per_gib, 100000, 1, true));
  bytes_an_extent("sequential, then 100 % random 4K, 4 GiB",
                  written(4 * blocks_per_gib, 1000000, 1, true));
  bytes_an_extent("sequential, then 80/20 4K-16K, 4 GiB",
                  written(4 * blocks_per_gib, 300000, 4, true, 80));
}

TEST(Node, ALookUpDecodesOneGroup) {
  std::vector<Extent> extents = written(1 << 14, 8000, 1, false);
  extents.resize(leaf_prefix_that_fits(extents));
  const Buffer block = packed(leaf_of(extents));
  std::mt19937_64 random(1);
  std::vector<Extent> found;
  constexpr int rounds = 200000;
  const uint64_t end = extents.back().end.value;
  const double begin = cpu_ns();
  for (int i = 0; i < rounds; ++i) {
    found.clear();
    const uint64_t at = random() % end;
    ASSERT_TRUE(NodeView(block.span()).lookup({{at}, {at + 1}}, found));
  }
  const double taken = cpu_ns() - begin;
  printf("look-up in a leaf of %zu: %.0f ns\n", extents.size(), taken / rounds);
}

}  // namespace
}  // namespace lamina
