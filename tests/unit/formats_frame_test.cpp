// SPDX-License-Identifier: Apache-2.0
// Frames: what goes in comes out, what does not get smaller is kept as it is, and nothing that is
// damaged, or of another place, is believed.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "blobs/frame.h"
#include "blobs/frame_format.h"

namespace lamina {
namespace {

const Secret secret{std::byte{3}, std::byte{9}};
const MetadataPlace frame_place{BlobId{2}, 7, Generation{41}, 5};

struct Blocks {
  explicit Blocks(uint32_t count) : data(size_t{count} * block_size), sums(count) {}
  void sum() {
    for (uint32_t i = 0; i < sums.size(); ++i) sums[i] = payload_checksum(data.blocks(i, 1));
  }
  Buffer data;
  std::vector<uint32_t> sums;
};

Blocks text(uint32_t count) {
  Blocks blocks(count);
  for (size_t i = 0; i < blocks.data.size(); ++i)
    blocks.data.data()[i] = static_cast<std::byte>("lamina is thin. "[i % 16] + i / block_size);
  blocks.sum();
  return blocks;
}

Blocks noise(uint32_t count) {
  Blocks blocks(count);
  std::mt19937_64 random(count);
  for (size_t i = 0; i < blocks.data.size(); i += 8) {
    const uint64_t word = random();
    std::memcpy(blocks.data.data() + i, &word, 8);
  }
  blocks.sum();
  return blocks;
}

std::vector<std::byte> made(const Blocks& blocks) {
  FrameCodec codec;
  auto frame = codec.encode(blocks.data.span(), blocks.sums);
  stamp_frame(frame, secret, frame_place);
  return frame;
}

TEST(Frame, WhatGoesInComesOut) {
  for (const uint32_t count : {1u, 2u, frame_blocks - 1, frame_blocks})
    for (const Blocks& blocks : {text(count), noise(count)}) {
      const auto bytes = made(blocks);
      EXPECT_EQ(bytes.size() % frame_grain, 0u);
      EXPECT_LE(bytes.size(), largest_frame(count));
      EXPECT_EQ(*frame_length(bytes, secret, frame_place), bytes.size());
      FrameCodec codec;
      const auto frame = codec.decode(bytes, secret, frame_place);
      ASSERT_TRUE(frame) << frame.error().message;
      ASSERT_EQ(frame->blocks(), count);
      EXPECT_EQ(frame->checksums, blocks.sums);
      EXPECT_EQ(0, std::memcmp(frame->data.data(), blocks.data.data(), blocks.data.size()));
      for (uint32_t i = 0; i < count; ++i) EXPECT_TRUE(frame->good(i));
    }
}

TEST(Frame, TextGetsSmallerAndNoiseIsKeptAsItIs) {
  EXPECT_LT(made(text(frame_blocks)).size(), frame_blocks * block_size / 8);
  EXPECT_EQ(made(noise(frame_blocks)).size(), largest_frame(frame_blocks));
}

TEST(Frame, OfAnotherPlaceOrPoolItIsRefused) {
  const auto bytes = made(text(8));
  FrameCodec codec;
  MetadataPlace other = frame_place;
  other.block = 6;
  EXPECT_FALSE(codec.decode(bytes, secret, other));
  other = frame_place;
  other.generation = Generation{42};
  EXPECT_FALSE(codec.decode(bytes, secret, other));
  other = frame_place;
  other.segment = 8;
  EXPECT_FALSE(codec.decode(bytes, secret, other));
  EXPECT_FALSE(codec.decode(bytes, Secret{}, frame_place));
}

// B6: what is damaged is one frame at the most; of one that is not compressed, one block.
TEST(Frame, NoDamageIsBelieved) {
  const Blocks blocks = text(16), kept = noise(16);
  FrameCodec codec;
  for (const Blocks* of : {&blocks, &kept}) {
    const auto bytes = made(*of);
    for (size_t at = 0; at < bytes.size(); at += 61) {
      auto bad = bytes;
      bad[at] ^= std::byte{16};
      const auto frame = codec.decode(bad, secret, frame_place);
      if (!frame) continue;
      for (uint32_t i = 0; i < frame->blocks(); ++i) {
        const bool same = std::memcmp(frame->data.blocks(i, 1).data(), of->data.blocks(i, 1).data(),
                                      block_size) == 0;
        EXPECT_EQ(frame->good(i), same) << "byte " << at << ", block " << i;
      }
    }
  }
  auto one = made(kept);
  one.back() ^= std::byte{1};
  const auto frame = codec.decode(one, secret, frame_place);
  ASSERT_TRUE(frame);
  EXPECT_FALSE(frame->good(15));
  EXPECT_TRUE(frame->good(14));
}

TEST(Frame, CutShortItIsRefused) {
  const auto bytes = made(text(16));
  FrameCodec codec;
  for (const size_t length : {size_t{0}, size_t{23}, size_t{40}, bytes.size() / 2})
    EXPECT_FALSE(codec.decode(std::span(bytes).first(length), secret, frame_place));
}

TEST(Frame, TheIndexHasAWordForEachFrameAndOneForTheEnd) {
  EXPECT_EQ(frame_index_blocks(64), 1u);
  EXPECT_EQ(frame_index_blocks(2048), 1u);
  EXPECT_EQ(frame_index_blocks(4096), 2u);  // 1025 words
}

}  // namespace
}  // namespace lamina
