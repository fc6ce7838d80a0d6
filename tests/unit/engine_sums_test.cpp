// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "base/buffer.h"
#include "base/endian.h"
#include "engine/sums.h"

namespace lamina {
namespace {

constexpr size_t room_for_four = 4 * 4300;  // bytes; a page takes a little more than its block

class ACacheOfChecksums : public testing::Test {
 protected:
  static uint32_t sum(uint32_t generation, uint32_t block) { return generation * 100'000 + block; }
  void put(uint32_t generation, uint32_t page) {
    Buffer block(block_size);
    for (uint32_t i = 0; i < Sums::page_blocks; ++i) {
      le32 value;
      value.store(sum(generation, page * Sums::page_blocks + i));
      std::memcpy(block.data() + i * 4, value.bytes.data(), 4);
    }
    sums_.put(Generation{generation}, page, block.span());
  }
  bool has(uint32_t generation, uint32_t block = 0, size_t count = 1) {
    std::vector<uint32_t> out(count);
    if (!sums_.get({Generation{generation}, block}, out)) return false;
    for (uint32_t i = 0; i < count; ++i) EXPECT_EQ(out[i], sum(generation, block + i));
    return true;
  }
  Sums sums_{room_for_four};
};

TEST_F(ACacheOfChecksums, AnswersAcrossPagesAllOrNothing) {
  put(1, 0);
  EXPECT_TRUE(has(1, 1000, 24));
  EXPECT_FALSE(has(1, 1000, 25));
  put(1, 1);
  EXPECT_TRUE(has(1, 1000, 25));
  EXPECT_FALSE(has(2));
}

TEST_F(ACacheOfChecksums, KeepsWhatIsUsedAndNoMoreThanItMay) {
  for (uint32_t generation = 1; generation <= 4; ++generation) put(generation, 0);
  for (uint32_t generation = 5; generation <= 40; ++generation) {
    EXPECT_TRUE(has(1));
    put(generation, 0);
    EXPECT_LE(sums_.bytes(), room_for_four);
  }
  EXPECT_TRUE(has(1));
  EXPECT_TRUE(has(40));
  EXPECT_FALSE(has(2));
  // Where all of it is used somebody has to go all the same.
  for (uint32_t generation = 41; generation <= 60; ++generation) {
    put(generation, 0);
    EXPECT_TRUE(has(generation));
    EXPECT_LE(sums_.bytes(), room_for_four);
  }
}

TEST_F(ACacheOfChecksums, WhatIsPinnedIsAnsweredFirstAndNeverPushedOut) {
  auto whole = std::make_shared<std::vector<uint32_t>>(2 * Sums::page_blocks);
  for (uint32_t i = 0; i < whole->size(); ++i) (*whole)[i] = sum(9, i);
  sums_.pin(Generation{9}, whole);
  for (uint32_t generation = 10; generation <= 30; ++generation) put(generation, 0);
  EXPECT_TRUE(has(9, 1000, 100));
  sums_.unpin(Generation{9});
  EXPECT_FALSE(has(9));
}

TEST_F(ACacheOfChecksums, ForgetsASegmentOrAPage) {
  put(1, 0), put(1, 1), put(2, 0);
  sums_.forget_page(Generation{1}, 0);
  EXPECT_FALSE(has(1));
  EXPECT_TRUE(has(1, 1024));
  sums_.forget(Generation{1}, 2048);
  EXPECT_FALSE(has(1, 1024));
  EXPECT_TRUE(has(2));
}

}  // namespace
}  // namespace lamina
