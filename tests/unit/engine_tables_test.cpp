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
#include "engine/tables_format.h"
#include "tables_sample.h"

namespace lamina {
namespace {

using tables_format::Page;
using samples::tables;

TEST(Tables, AreWhatWasPacked) {
  const Tables t = tables();
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
  const auto bytes = pack_tables(tables());
  for (size_t length = 0; length < bytes.size(); length += 1 + length / 40)
    EXPECT_FALSE(unpack_tables(std::span(bytes).first(length))) << length;
}

TEST(Tables, NoiseNeverCrashesTheReader) {
  std::mt19937_64 random(1);
  const auto bytes = pack_tables(tables());
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

TEST(Tables, APageWithSomethingBehindItsPartOfTheStreamIsRefused) {
  const Secret secret{std::byte{1}};
  const MetadataPlace place{BlobId{1}, 2, Generation{3}, 4};
  const std::vector<std::byte> bytes(1000, std::byte{0x5a});
  Buffer block(block_size);
  TablesPage page;
  page.number = 9;
  page.count = 1;
  page.bytes = bytes;
  pack_tables_page(page, secret, place, block.span());
  for (const size_t at : {offsetof(Page, bytes) + 1000, offsetof(Page, checksum) - 1}) {
    block.data()[at] = std::byte{1};
    store_block_checksum(block.span(), keyed_block_checksum(block.span(), secret, place));
    EXPECT_FALSE(unpack_tables_page(block.span(), secret, place)) << at;
    block.data()[at] = std::byte{};
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
