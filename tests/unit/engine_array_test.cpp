// SPDX-License-Identifier: Apache-2.0
// The checksums of moved data lie at both ends of a segment: damage of a range in it costs the data
// that lay there, and no more.
#include <gtest/gtest.h>

#include "engine/space/array_again.h"
#include "engine_repair_fixture.h"

namespace lamina {
namespace {

class MovedSegments : public ADamagedPool {
 protected:
  void SetUp() override {
    ADamagedPool::SetUp();
    close();
    open();
  }
  std::vector<InUse> moved() {
    std::vector<InUse> all = segments();
    std::erase_if(all, [](const InUse& s) { return s.header.kind != SegmentClass::moved; });
    return all;
  }
  static Place at(const InUse& segment, uint32_t block) {
    return {segment.at.medium, segment.at.offset + uint64_t{block} * block_size};
  }
  static SummaryHead summary_of(const InUse& segment) {
    const Buffer block = MetadataPlaces::read(at(segment, segment.header.blocks - 1));
    return *decode_summary_head(block.span());
  }
  // Destroys those blocks of each; the result: what lay there.
  using Range = std::pair<uint32_t, uint32_t>;
  Blocks destroy_of_each(const std::function<Range(const SegmentHeader&)>& range) {
    const std::vector<InUse> victims = moved();
    EXPECT_FALSE(victims.empty());
    Blocks there;
    for (const InUse& victim : victims) {
      const auto [begin, end] = range(victim.header);
      there.merge(blocks_in(victim.header.generation, begin, end));
    }
    for (const InUse& victim : victims) {
      const auto [begin, end] = range(victim.header);
      for (uint32_t block = begin; block < end; ++block) spoil(at(victim, block));
    }
    return there;
  }
  Blocks blocks_in(Generation generation, uint32_t begin, uint32_t end) {
    Blocks out;
    for (const auto& [name, versions] : devices_) {
      const auto ranges = wait(pool_->map(pool_->find(name)->id, DeviceBlock{0}, SIZE_MAX));
      EXPECT_TRUE(ranges);
      for (const MappedRange& range : *ranges) {
        if (range.state != RangeState::data || range.address.generation != generation) continue;
        for (uint64_t i = 0; i < range.range.length().value; ++i)
          if (range.address.block + i >= begin && range.address.block + i < end)
            out.emplace(name, range.range.begin.value + i);
      }
    }
    return out;
  }
  // What lay there cannot be read, and all else is right.
  void expect_lost(const Blocks& there) {
    EXPECT_FALSE(there.empty());
    EXPECT_EQ(unreadable(), there.size());
    for (const auto& [name, block] : there) ASSERT_FALSE(readable(name, block)) << name << block;
  }
  // From the header on, a quarter of the payload.
  static Range first_part(const SegmentHeader& header) {
    const uint32_t begin = payload_begin(header.kind, header.blocks, header.front_blocks);
    return {0, begin + (header.used_end - begin + 3) / 4};
  }
  static Range last_part(const SegmentHeader& header) {
    const uint32_t begin = payload_begin(header.kind, header.blocks, header.front_blocks);
    return {header.used_end - (header.used_end - begin + 3) / 4, header.blocks};
  }
};

TEST_P(MovedSegments, ARangeFromTheirBeginCostsTheDataInItWhileTheyAreRead) {
  expect_lost(destroy_of_each(first_part));
}

TEST_P(MovedSegments, ARangeToTheirEndCostsTheDataInItWhileTheyAreRead) {
  expect_lost(destroy_of_each(last_part));
}

TEST_P(MovedSegments, ARangeFromTheirBeginCostsTheDataInItAfterARepair) {
  const Blocks there = destroy_of_each(first_part);
  close();
  destroy_maps();
  const auto repaired = repair_it();
  ASSERT_TRUE(repaired) << repaired.error().message;
  open();
  expect_lost(there);
}

// What was destroyed is written again from the other copy, by healing and by a repair.
TEST_P(MovedSegments, ABadCopyIsWrittenAnew) {
  for (const bool repaired : {false, true}) {
    std::vector<std::pair<Place, Buffer>> destroyed;
    for (const InUse& segment : moved()) {
      const uint32_t second = summary_of(segment).summary.second_array;
      ASSERT_GT(second, segment.header.used_end - 1);
      const Place place = at(segment, destroyed.size() % 2 == 0 ? second : 1);
      destroyed.emplace_back(place, MetadataPlaces::read(place));
      spoil(place);
      spoil(at(segment, segment.header.used_end - 1));  // payload does not tell it
    }
    ASSERT_GE(destroyed.size(), 2u);
    if (repaired) {
      close();
      destroy_maps();
      ASSERT_TRUE(repair_it());
      open();
    } else {
      ASSERT_TRUE(wait(pool_->heal_metadata()));
    }
    for (const auto& [place, was] : destroyed)
      EXPECT_TRUE(std::ranges::equal(MetadataPlaces::read(place).span(), was.span()))
          << "repaired: " << repaired;
  }
}

// As segments were that an earlier lamina filled: with payload where there is a second copy now.
TEST_P(MovedSegments, OneThatHasThemOnceIsWhole) {
  for (const InUse& segment : moved()) {
    const SegmentHeader& header = segment.header;
    const SummaryHead head = summary_of(segment);
    const uint32_t front = 1 + array_blocks(header.kind, header.blocks);
    for (const bool back : {false, true}) {
      const uint32_t begin = back ? header.blocks - head.blocks : front;
      Buffer run(uint64_t{head.blocks} * block_size);
      segment.at.medium->read(at(segment, begin).offset, run.span());
      const MetadataPlace place{header.blob, header.index, header.generation, begin};
      auto summary = unpack_summary(run.span(), header.secret, place, back);
      ASSERT_TRUE(summary) << summary.error().message;
      summary->second_array = 0;
      pack_summary(*summary, header.secret, place, back, run.span());
      segment.at.medium->damage(at(segment, begin).offset, run.span());
    }
    spoil(at(segment, head.summary.second_array));
  }
  const auto healed = wait(pool_->heal_metadata());
  ASSERT_TRUE(healed);
  EXPECT_EQ(*healed, 0u);
  expect_all("with one copy");
  for (const InUse& segment : moved()) spoil(at(segment, 1));
  expect_all("made again from the payload");
  expect_healed("made again from the payload");
}

INSTANTIATE_TEST_SUITE_P(Kinds, MovedSegments, testing::Values(BlobKind::transparent));

// Two blocks of checksums, each copy damaged in another, and no payload left to tell.
TEST(ArrayAgain, ItIsPutTogetherFromWhatIsGoodOfBothCopies) {
  constexpr uint32_t blocks = 2048, second = 2000;
  Buffer segment(uint64_t{blocks} * block_size), array(2 * block_size);
  std::mt19937_64 random(5);
  for (Buffer* const buffer : {&segment, &array})
    for (std::byte& byte : buffer->span()) byte = static_cast<std::byte>(random());
  Summary summary;
  summary.checksums_sum = plain_checksum(array.span());
  summary.second_array = second;
  const auto put = [&](uint32_t at) {
    std::memcpy(segment.blocks(at, 2).data(), array.data(), array.size());
  };
  const auto again = [&] {
    return array_again(SegmentClass::moved, segment.span(), {}, {}, summary);
  };
  EXPECT_FALSE(again());
  put(1);
  put(second);
  segment.blocks(1, 1)[0] ^= std::byte{1};
  segment.blocks(second + 1, 1)[7] ^= std::byte{1};
  const auto found = again();
  ASSERT_TRUE(found);
  EXPECT_TRUE(std::ranges::equal(found->span(), array.span()));
  segment.blocks(second, 1)[0] ^= std::byte{1};
  EXPECT_FALSE(again());
}

}  // namespace
}  // namespace lamina
