// SPDX-License-Identifier: Apache-2.0
// Reading from a compression blob.
#include <gtest/gtest.h>

#include <random>

#include "blobs/frame_format.h"
#include "engine/frame_cache.h"
#include "engine_pool_of_disks.h"

namespace lamina {
namespace {

TEST(FrameCache, IsBoundedAndGivesUpWhatWasNotUsedForLongest) {
  constexpr size_t room = 10;
  FrameCache cache(room * (frame_blocks + 1) * block_size);
  const FramePtr frame = std::make_shared<const Frame>();
  for (uint32_t i = 0; i < 1000; ++i) {
    cache.put(Generation{1}, i, frame);
    EXPECT_TRUE(cache.find(Generation{1}, 0)) << i;
    EXPECT_LE(cache.bytes(), room * (frame_blocks + 1) * block_size);
  }
  EXPECT_TRUE(cache.find(Generation{1}, 999));
  EXPECT_FALSE(cache.find(Generation{1}, 1));
  cache.forget(Generation{1});
  EXPECT_EQ(cache.bytes(), 0u);
}

class WithFrames : public PoolOfDisks {
 protected:
  // Bytes of the medium that a frame takes, each.
  std::vector<std::pair<uint64_t, uint64_t>> frames() {
    std::vector<std::byte> all(media_[0].size());
    media_[0].read(0, all);
    std::vector<std::pair<uint64_t, uint64_t>> found;
    for (size_t at = 0; at + sizeof(FrameFormat) < all.size(); at += frame_grain) {
      FrameFormat format;
      std::memcpy(&format, all.data() + at, sizeof format);
      if (format.magic != frame_magic) continue;
      const size_t head = sizeof format + format.blocks * sizeof(le32);
      found.emplace_back(at, at + head + format.bytes.load());
    }
    return found;
  }
};

// Everything but one frame's blocks cannot be read: that is enough for every block in it.
TEST_F(WithFrames, ABlockIsReadFromItsFrameAndNoOther) {
  make({{"one", BlobKind::compression, 1}});
  std::mt19937_64 random(7);  // halves when it is compressed
  for (size_t at = 0; at < content_.size(); at += 16)
    for (size_t i = 0; i < 8; ++i) content_[at + i] = static_cast<std::byte>(random());
  write(0, content_);
  age();
  const auto all = frames();
  ASSERT_GT(all.size(), 100u);
  close();
  open();
  const auto wanted = all[all.size() / 2];
  const uint64_t first = round_down(wanted.first, block_size);
  const uint64_t last = round_up(wanted.second, block_size);
  for (const auto& [begin, end] : all)
    for (uint64_t at = round_down(begin, block_size); at < end; at += block_size)
      if (at < first || at >= last) media_[0].fail_reads(at, block_size);
  const uint64_t below = blob("one").data_bytes / block_size;
  uint64_t good = 0, bad = 0;
  std::vector<std::byte> got(block_size);
  for (uint64_t at = 0; at < device_bytes; at += block_size) {
    auto read = wait(pool_->read(device_, at, got));
    ++(read ? good : bad);
    if (!read) continue;
    EXPECT_EQ(0, std::memcmp(got.data(), content_.data() + at, block_size));
  }
  const uint64_t elsewhere = device_bytes / block_size - below;
  EXPECT_GE(good, elsewhere + frame_blocks);
  EXPECT_LE(good, elsewhere + 3 * frame_blocks);  // a neighbour may lie in the same blocks
  EXPECT_GT(bad, 2000u);
}

}  // namespace
}  // namespace lamina
