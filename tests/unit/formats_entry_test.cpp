// SPDX-License-Identifier: Apache-2.0
// Packed entries and varints: what does not decode to values in range is refused.
#include <gtest/gtest.h>

#include <random>

#include "blobs/varint.h"
#include "formats_samples.h"

namespace lamina {
namespace {

std::vector<std::byte> bytes(std::initializer_list<int> values) {
  std::vector<std::byte> out;
  for (const int value : values) out.push_back(static_cast<std::byte>(value));
  return out;
}

bool refused(const std::vector<std::byte>& packed) {
  std::span<const std::byte> in = packed;
  const auto before = in;
  const auto entry = unpack_entry(in, 0);
  // What is refused is not consumed.
  return !entry && in.data() == before.data() && in.size() == before.size() &&
         entry.error().code == Code::corrupt;
}

TEST(Varint, OnlyTheShortestFormIsTaken) {
  for (const auto& packed :
       {bytes({0x80, 0x00}), bytes({0xff, 0x80, 0x00}), bytes({}), bytes({0x80}),
        bytes({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}),
        bytes({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0x01})}) {
    std::span<const std::byte> in = packed;
    EXPECT_FALSE(get_varint(in));
    EXPECT_EQ(in.size(), packed.size());
  }
}

TEST(Entry, CutShortAnywhereItIsRefused) {
  for (const Entry& entry : samples::all_kinds(0, 11)) {
    std::vector<std::byte> packed;
    pack_entry(entry, 0, packed);
    while (!packed.empty()) {
      packed.pop_back();
      EXPECT_TRUE(refused(packed)) << static_cast<int>(raw(entry.kind));
    }
  }
}

TEST(Entry, UnknownKindsAndFlagsAreRefused) {
  EXPECT_TRUE(refused(bytes({0, 0})));
  EXPECT_TRUE(refused(bytes({18, 0})));
  EXPECT_TRUE(refused(bytes({31, 0})));
  EXPECT_TRUE(refused(bytes({0x30, 0})));                         // "nothing", removed
  EXPECT_TRUE(refused(bytes({0x80 | 16, 0x01, 0})));              // a tag of two bytes
  EXPECT_TRUE(refused(bytes({0x20 | 0x40 | 11, 0, 1, 1, 'a'})));  // removed, and yet in payload
  EXPECT_FALSE(refused(bytes({16, 0})));
}

TEST(Entry, ValuesOutOfRangeAreRefused) {
  EXPECT_FALSE(refused(bytes({1, 0, 3, 5, 1, 4})));  // write: map, begin, length, offset
  EXPECT_TRUE(refused(bytes({1, 0, 0, 5, 1, 4})));   // no map
  EXPECT_TRUE(refused(bytes({1, 0, 3, 5, 0, 4})));   // no length
  EXPECT_TRUE(refused(bytes({1, 0, 3, 5, 1, 0})));   // over the segment's header
  EXPECT_TRUE(refused(bytes({1, 0, 3, 5, 1, 0xff, 0xff, 0xff, 0xff, 0x7f})));  // offset: 35 bits
  EXPECT_TRUE(refused(bytes({1, 0, 3, 5, 0xff, 0xff, 0xff, 0xff, 0x0f, 1})));  // past 32 bits
  EXPECT_FALSE(
      refused(bytes({3, 0, 3, 5, 1, 7, 4, 2})));          // alias: map, begin, length, address, map
  EXPECT_TRUE(refused(bytes({3, 0, 3, 5, 1, 0, 4, 2})));  // of no generation
  EXPECT_TRUE(refused(bytes({3, 0, 3, 5, 1, 7, 4, 0})));  // of no map
  EXPECT_TRUE(refused(bytes({6, 0, 0, 1, 'a'})));         // unlink of no device
  EXPECT_TRUE(refused(bytes({6, 0, 1, 1, 0})));           // a name with a NUL
  EXPECT_TRUE(refused(bytes({6, 0, 1, 2, 'a'})));         // a name longer than what is left
  EXPECT_FALSE(refused(bytes({14, 0, 1, 2, 3, 4, 1, 'a'})));
  EXPECT_FALSE(refused(bytes({0x40 | 14, 0, 2, 4, 30})));  // a list of forks: length, offset, size
  EXPECT_TRUE(refused(bytes({0x40 | 14, 0, 3, 4, 30})));   // not two copies
  EXPECT_TRUE(refused(bytes({0x40 | 14, 0, 4, 4, 30})));   // longer than its size
  EXPECT_TRUE(refused(bytes({0x60 | 14, 0, 2, 4, 30})));   // read-only are its forks, not the list
  EXPECT_TRUE(refused(bytes({0x40 | 11, 0, 1, 0, 4, 5, 1, 'a'})));  // in payload, of no length
}

TEST(Entry, ARangeMayReachTheEndOfEveryDeviceAndNotPastIt) {
  Entry entry = samples::write(0, 3, 0, 1, 4);
  entry.kind = EntryKind::zero;
  entry.offset = 0;
  entry.begin = device_end - BlockCount{5};
  entry.length = {5};
  std::vector<std::byte> packed;
  pack_entry(entry, 0, packed);
  EXPECT_FALSE(refused(packed));
  packed.back() = std::byte{6};  // the length
  EXPECT_TRUE(refused(packed));
}

TEST(Entry, NamesMayHave255BytesAndNotMore) {
  Entry entry;
  entry.kind = EntryKind::unlink;
  entry.device = DeviceId{1};
  entry.name = std::string(255, 'n');
  std::vector<std::byte> packed;
  pack_entry(entry, 0, packed);
  EXPECT_FALSE(refused(packed));
  std::vector<std::byte> longer = bytes({6, 0, 1, 0x80, 0x02});  // 256
  longer.insert(longer.end(), 256, std::byte{'n'});
  EXPECT_TRUE(refused(longer));
}

TEST(Entry, NumbersDoNotWrapAround) {
  const auto packed = bytes({16, 2});
  std::span<const std::byte> in = packed;
  EXPECT_TRUE(unpack_entry(in, UINT64_MAX - 2));
  in = packed;
  EXPECT_FALSE(unpack_entry(in, UINT64_MAX - 1));
}

TEST(Entry, WhatDecodesIsPackedAgainToTheSameBytes) {
  std::mt19937_64 random(7);
  int decoded = 0;
  for (int round = 0; round < 300000; ++round) {
    std::vector<std::byte> packed(2 + random() % 24);
    for (auto& byte : packed) byte = static_cast<std::byte>(random() % (random() % 2 ? 256 : 20));
    std::span<const std::byte> in = packed;
    const auto entry = unpack_entry(in, 1000);
    if (!entry) continue;
    ++decoded;
    std::vector<std::byte> again;
    pack_entry(*entry, 1000, again);
    packed.resize(packed.size() - in.size());
    ASSERT_EQ(again, packed);
  }
  EXPECT_GT(decoded, 1000);
}

TEST(EntryDeathTest, AFieldThatItsKindDoesNotHaveIsABug) {
  Entry entry = samples::write(0, 3, 0, 1, 4);
  entry.device = DeviceId{1};
  std::vector<std::byte> out;
  EXPECT_DEATH(pack_entry(entry, 0, out), "assertion");
}

TEST(EntryDeathTest, ANumberBeforeTheBaseIsABug) {
  std::vector<std::byte> out;
  EXPECT_DEATH(pack_entry(samples::write(9, 3, 0, 1, 4), 10, out), "assertion");
}

}  // namespace
}  // namespace lamina
