// SPDX-License-Identifier: Apache-2.0
// The tables of a checkpoint: what is packed is unpacked, what is damaged is refused, and
// engine/FORMAT.md says of the page what engine/tables_format.h says.
#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "engine/tables.h"
#include "engine/tables_format.h"

namespace lamina {
namespace {

using tables_format::Page;

Tables sample() {
  Tables t;
  t.number = 17;
  t.epoch = 3;
  t.cut = 12345;
  t.next_device = DeviceId{9};
  t.next_map = MapId{12};
  t.next_node = NodeId{400};
  t.next_generation = Generation{77};
  t.next_origin = Generation{first_origin_generation + 9};
  const Generation origin{first_origin_generation + 4};
  t.origins[origin] = {origin, "/srv/images/base.raw", 5 * gib, {6 * gib, 1'700'000'000, 12, 34}};
  t.root.mode = 0755;
  t.root_xattrs["user.note"] = "hello";
  t.epochs = {{1, 0}, {2, 900}};
  DeviceRow d;
  d.id = DeviceId{5};
  d.name = "vm1";
  d.size_bytes = 10 * gib;
  d.attributes.uid = 107;
  d.xattrs["trusted.x"] = std::string(5000, 'v');
  d.last_copy = 850;
  d.origins = {origin};
  d.map = MapId{11};
  d.root = NodeId{399};
  d.mapped_blocks = 1000;
  d.extents = 77;
  t.devices.push_back(d);
  t.lineage.push_back({MapId{11}, MapId{4}, 800, DeviceId{5}});
  t.lost.push_back({DeviceId{5}, "", {DeviceBlock{3}, DeviceBlock{4}}});
  t.suspect.push_back({DeviceId{5}, "", {DeviceBlock{7}, DeviceBlock{70}}});
  t.scrub = {Generation{4}, Generation{9}, 1 << 20, 4096, 1'700'000'000, 1'600'000'000, true};
  t.segment_blocks = {{BlobId{0}, 64}, {BlobId{3}, 2048}};
  Segment s;
  s.name = {BlobId{0}, 6, Generation{70}};
  s.use = SegmentUse::sealed;
  s.kind = SegmentClass::moved;
  s.settled = 12000;
  s.live_blocks = -3;
  s.homes = 2;
  t.segments.push_back(s);
  NodeEntry node;
  node.copies = {Address{Generation{60}, 5}, Address{Generation{61}, 5}};
  node.checkpoint = 16;
  t.nodes.set(NodeId{399}, node);
  return t;
}

TEST(Tables, AreWhatWasPacked) {
  const Tables t = sample();
  auto back = unpack_tables(pack_tables(t));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->number, t.number);
  EXPECT_EQ(back->cut, t.cut);
  EXPECT_EQ(back->next_generation, t.next_generation);
  EXPECT_EQ(back->root_xattrs, t.root_xattrs);
  ASSERT_EQ(back->suspect.size(), 1u);
  EXPECT_EQ(back->suspect[0].device, t.suspect[0].device);
  EXPECT_EQ(back->suspect[0].range, t.suspect[0].range);
  EXPECT_EQ(back->epochs, t.epochs);
  ASSERT_EQ(back->devices.size(), 1u);
  EXPECT_EQ(back->devices[0].xattrs, t.devices[0].xattrs);
  EXPECT_EQ(back->devices[0].attributes, t.devices[0].attributes);
  EXPECT_EQ(back->devices[0].root, t.devices[0].root);
  EXPECT_EQ(back->lineage, t.lineage);
  ASSERT_EQ(back->segments.size(), 1u);
  EXPECT_EQ(back->segments[0].live_blocks, -3);
  EXPECT_EQ(back->segment_blocks, t.segment_blocks);
  EXPECT_EQ(back->devices[0].last_copy, 850u);
  EXPECT_EQ(back->devices[0].origins, t.devices[0].origins);
  EXPECT_EQ(back->origins, t.origins);
  EXPECT_EQ(back->next_origin, t.next_origin);
  EXPECT_EQ(back->nodes.at(NodeId{399}), t.nodes.at(NodeId{399}));
}

TEST(Tables, CutShortAnywhereAreRefused) {
  const auto bytes = pack_tables(sample());
  for (size_t length = 0; length < bytes.size(); length += 1 + length / 40)
    EXPECT_FALSE(unpack_tables(std::span(bytes).first(length))) << length;
}

TEST(Tables, NoiseNeverCrashesTheReader) {
  std::mt19937_64 random(1);
  const auto bytes = pack_tables(sample());
  for (int round = 0; round < 20000; ++round) {
    auto copy = bytes;
    for (int change = 0; change < 3; ++change)
      copy[random() % copy.size()] = static_cast<std::byte>(random());
    [[maybe_unused]] auto result = unpack_tables(copy);
  }
}

TEST(Tables, APageOfAnotherPlaceOrWithOneBitFlippedIsRefused) {
  const Secret secret{std::byte{1}};
  const MetadataPlace place{BlobId{1}, 2, Generation{3}, 4};
  std::vector<std::byte> bytes(1000, std::byte{0x5a});
  Buffer block(block_size);
  TablesPage page;
  page.number = 9;
  page.count = 1;
  page.bytes = bytes;
  pack_tables_page(page, secret, place, block.span());
  ASSERT_TRUE(unpack_tables_page(block.span(), secret, place));
  MetadataPlace other = place;
  other.generation = Generation{4};
  EXPECT_FALSE(unpack_tables_page(block.span(), secret, other));
  for (size_t bit = 0; bit < block_size * 8; bit += 7) {
    block.data()[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    EXPECT_FALSE(unpack_tables_page(block.span(), secret, place)) << bit;
    block.data()[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
  }
}

TEST(Tables, TheDocumentSaysWhatTheHeaderSays) {
  struct Field {
    std::string name;
    size_t offset, size;
  };
#define FIELD(f)                           \
  Field {                                  \
#f, offsetof(Page, f), sizeof(Page::f) \
  }
  const std::vector<Field> fields{FIELD(magic),      FIELD(version), FIELD(epoch),
                                  FIELD(checkpoint), FIELD(cut),     FIELD(index),
                                  FIELD(count),      FIELD(used),    FIELD(reserved),
                                  FIELD(bytes),      FIELD(checksum)};
#undef FIELD
  std::ifstream file(LAMINA_SOURCE "/engine/FORMAT.md");
  std::string heading;
  size_t at = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("#")) heading = line;
    if (heading != "### `Page`" || !line.starts_with("| ") || line[2] > '9') continue;
    std::istringstream in(line);
    std::string bar, name;
    size_t offset = 0, size = 0;
    in >> bar >> offset >> bar >> size >> bar >> name;
    ASSERT_LT(at, fields.size());
    EXPECT_EQ(name, fields[at].name);
    EXPECT_EQ(offset, fields[at].offset) << name;
    EXPECT_EQ(size, fields[at].size) << name;
    ++at;
  }
  EXPECT_EQ(at, fields.size());
}

}  // namespace
}  // namespace lamina
