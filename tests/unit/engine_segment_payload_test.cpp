// SPDX-License-Identifier: Apache-2.0
// What the mover puts into a segment fits it, whatever it is and however it comes, and is where it
// was said to be.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>

#include "base/endian.h"
#include "blobs/frame.h"
#include "blobs/sim_executor.h"
#include "engine/space/segment_payload.h"

namespace lamina {
namespace {

const Secret secret{std::byte{5}};
const MetadataPlace segment_place{BlobId{1}, 3, Generation{9}, 0};

std::unique_ptr<SegmentPayload> payload_of(BlobKind kind) {
  Superblock superblock;
  auto geometry = Blob::plan(64 * mib, 0, 0);
  superblock.kind = kind;
  geometry->write_to(superblock);
  return SegmentPayload::make(Blob(nullptr, superblock), {.secret = secret, .level = 1});
}

class Filling {
 public:
  Filling(BlobKind kind, uint32_t blocks, uint64_t seed)
      : kind_(kind), random_(seed), memory_(size_t{blocks} * block_size), blocks_(blocks) {
    memory_.zero();
    payload_ = payload_of(kind);
    const SegmentClass of =
        kind == BlobKind::compression ? SegmentClass::frames : SegmentClass::moved;
    begin_ = payload_begin(of, blocks, 1);
    payload_->open(segment_place, memory_, begin_);
  }

  // In pieces of any size, of any content, while the summary at the end grows.
  void fill() {
    const uint32_t up = payload_->movable() ? 3 : 0;
    uint32_t end = blocks_ - 1 - up;
    const unsigned noisy = static_cast<unsigned>(random_() % 5);
    for (int full = 0; full < 2;) {
      if (random_() % 40 == 0 && end > begin_ + 8 && payload_->fits(end - 1)) --end;
      const uint32_t room = payload_->room(end);
      ASSERT_TRUE(payload_->fits(end));
      if (room == 0) {
        settle();
        ++full;
        continue;
      }
      full = 0;
      put(1 + static_cast<uint32_t>(random_() % std::min(room, 70u)), noisy);
      if (random_() % 60 == 0) settle();
      if (random_() % 30 == 0) go_on();
    }
    settle();
    if (up > 0) payload_->move_up(up);
    payload_->close();
    ASSERT_LE(payload_->used_end(), end + up);
  }

  void expect_all() {
    ASSERT_FALSE(written_.empty());
    if (kind_ == BlobKind::compression) return expect_frames();
    for (const auto& [address, block] : written_) {
      ASSERT_EQ(0, std::memcmp(memory_.blocks(address, 1).data(), block.data(), block_size));
      ASSERT_EQ(word(address), payload_checksum(block));
    }
  }
  const SegmentPayload& payload() const { return *payload_; }
  size_t count() const { return written_.size(); }

 private:
  void put(uint32_t count, unsigned noisy) {
    Buffer data(size_t{count} * block_size);
    std::vector<uint32_t> sums;
    data.zero();
    for (uint32_t i = 0; i < count; ++i) {
      const auto block = data.blocks(i, 1);
      const size_t noise = random_() % 4 < noisy ? block_size : random_() % 64;
      for (size_t at = 0; at < noise; ++at) block[at] = static_cast<std::byte>(random_());
      sums.push_back(payload_checksum(block));
      written_[payload_->next_address() + i].assign(block.begin(), block.end());
    }
    payload_->put(data.span(), sums);
  }
  void settle() {
    SimExecutor executor(1);
    ASSERT_TRUE(executor.run_until(payload_->settle()));
  }
  void go_on() {
    SimExecutor executor(1);
    ASSERT_TRUE(executor.run_until(payload_->go_on()));
  }
  uint32_t word(uint32_t at) const {
    le32 value;
    std::memcpy(&value, memory_.data() + block_size + size_t{at} * sizeof value, sizeof value);
    return value.load();
  }
  void expect_frames() {
    FrameCodec codec;
    std::map<uint32_t, Frame> frames;
    for (const auto& [address, block] : written_) {
      const uint32_t number = address / frame_blocks;
      if (!frames.contains(number)) {
        MetadataPlace of = segment_place;
        of.block = number;
        const size_t begin = size_t{word(number)} * frame_grain;
        const size_t end = size_t{word(number + 1)} * frame_grain;
        ASSERT_LT(begin, end);
        auto frame = codec.decode(memory_.span().subspan(begin, end - begin), secret, of);
        ASSERT_TRUE(frame) << frame.error().message;
        frames.emplace(number, std::move(*frame));
      }
      const Frame& frame = frames.at(number);
      ASSERT_LT(address % frame_blocks, frame.blocks());
      ASSERT_TRUE(frame.good(address % frame_blocks));
      ASSERT_EQ(0, std::memcmp(frame.data.blocks(address % frame_blocks, 1).data(), block.data(),
                               block_size));
    }
  }

  const BlobKind kind_;
  std::mt19937_64 random_;
  Buffer memory_;
  const uint32_t blocks_;
  uint32_t begin_ = 0;
  std::unique_ptr<SegmentPayload> payload_;
  std::map<uint32_t, std::vector<std::byte>> written_;  // by address
};

TEST(SegmentPayload, WhateverIsPutFitsAndIsWhereItWasSaidToBe) {
  for (const BlobKind kind : {BlobKind::transparent, BlobKind::compression})
    for (uint64_t seed = 1; seed <= 12; ++seed) {
      Filling filling(kind, seed % 3 == 0 ? 512 : 64, seed);
      filling.fill();
      filling.expect_all();
      if (HasFatalFailure()) FAIL() << name_of(kind) << ", seed " << seed;
    }
}

TEST(SegmentPayload, ACompressedSegmentEndsWhereItsAddressesDo) {
  auto payload = payload_of(BlobKind::compression);
  Buffer memory(64 * block_size);
  memory.zero();
  payload->open(segment_place, memory, payload_begin(SegmentClass::frames, 64, 1));
  const Buffer zeroes = [] {
    Buffer buffer(size_t{frame_blocks} * block_size);
    buffer.zero();
    return buffer;
  }();
  const std::vector<uint32_t> sums(frame_blocks, payload_checksum(zeroes.blocks(0, 1)));
  uint32_t put = 0;
  SimExecutor executor(1);
  while (true) {
    if (payload->room(63) < frame_blocks) {
      ASSERT_TRUE(executor.run_until(payload->settle()));
      if (payload->room(63) < frame_blocks) break;
    }
    payload->put(zeroes.span(), sums);
    put += frame_blocks;
  }
  EXPECT_EQ(put, addresses_end(64) - frame_blocks);  // frame 0 is what lies before them
  EXPECT_EQ(payload->addressed(), put);
  EXPECT_LT(payload->used_end(), 10u);
}

}  // namespace
}  // namespace lamina
