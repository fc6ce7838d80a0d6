// SPDX-License-Identifier: Apache-2.0
// A disk that keeps words in the place of payload: whatever is written is read back, and blocks of
// one word take no room below.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "base/buffer.h"
#include "blobs/uring_loop.h"
#include "tests/bigpool/word_disk.h"

namespace lamina {
namespace {

class AWordDisk : public testing::Test {
 protected:
  static constexpr uint64_t size = 64 * mib;

  void SetUp() override {
    std::string pattern = "/var/tmp/lamina_word_disk_test_XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    ASSERT_TRUE(create_disk_file(path(), size));
    auto loop = UringLoop::create({});
    ASSERT_TRUE(loop) << loop.error().message;
    loop_ = std::move(*loop);
    open();
  }
  void TearDown() override {
    disk_ = nullptr;
    const std::string remove = "rm -rf " + directory_;
    EXPECT_EQ(std::system(remove.c_str()), 0);
  }

  std::string path() const { return directory_ + "/disk"; }
  void open(const FileDiskOptions& options = {}) {
    disk_ = nullptr;
    auto disk = open_word_disk(path(), options);
    ASSERT_TRUE(disk) << disk.error().message;
    disk_ = std::move(*disk);
  }
  uint64_t allocated_below() const {
    struct stat about {};
    EXPECT_EQ(stat(path().c_str(), &about), 0);
    return static_cast<uint64_t>(about.st_blocks) * 512;
  }

  void write(uint64_t block, const Buffer& from) {
    run([&](IoBatch& batch) { batch.write(*disk_, block * block_size, from.span()); });
  }
  Buffer read(uint64_t block, uint64_t count) {
    Buffer into(count * block_size);
    std::memset(into.data(), 0xaa, into.size());
    run([&](IoBatch& batch) { batch.read(*disk_, block * block_size, into.span()); });
    return into;
  }
  template <class Start>  // start(IoBatch&)
  void run(Start start) {
    const auto wait = [](Start& begin) -> Task<bool> {
      IoBatch batch;
      begin(batch);
      EXPECT_FALSE(batch.await_ready()) << "completed from inside submit()";
      co_await batch;
      co_return batch.ok();
    };
    Task<bool> task = wait(start);
    EXPECT_TRUE(loop_->run_until(std::move(task)));
  }

  std::string directory_;
  std::unique_ptr<UringLoop> loop_;
  std::unique_ptr<Disk> disk_;
};

// A block for each letter: 'w' of one word, another in every place; 'm' of metadata; 'z' of zeroes.
Buffer blocks(const std::string& kinds, uint64_t seed) {
  Buffer buffer(kinds.size() * block_size);
  buffer.zero();
  for (size_t i = 0; i < kinds.size(); ++i) {
    const auto block = buffer.blocks(i, 1);
    const uint64_t word = seed * 0x9e3779b97f4a7c15 + i + 1;
    if (kinds[i] == 'w')
      for (size_t at = 0; at < block_size; at += sizeof word)
        std::memcpy(block.data() + at, &word, sizeof word);
    if (kinds[i] == 'm') std::memcpy(block.data() + 100 * i % 4000, &word, sizeof word);
  }
  return buffer;
}

bool same(const Buffer& a, const Buffer& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

TEST_F(AWordDisk, ReadsBackWhateverWasWritten) {
  const Buffer mixed = blocks("mwwwmmwzwwzzm", 1);
  write(100, mixed);
  EXPECT_TRUE(same(read(100, 13), mixed));
  // Each kind over each.
  const Buffer over = blocks("wmwzmwzwmzmww", 2);
  write(100, over);
  EXPECT_TRUE(same(read(100, 13), over));
}

TEST_F(AWordDisk, ReadsBackWhatWasWrittenThrough) {
  const Buffer mixed = blocks("mwwmwzw", 10);
  run([&](IoBatch& batch) { batch.write_through(*disk_, 8 * block_size, mixed.span()); });
  EXPECT_TRUE(same(read(8, 7), mixed));
}

TEST_F(AWordDisk, KeepsBothKindsWhenItIsOpenedAgain) {
  const Buffer mixed = blocks("mwwmwzw", 3);
  write(8, mixed);
  open();
  EXPECT_TRUE(same(read(8, 7), mixed));
}

TEST_F(AWordDisk, StoresNothingBelowOfABlockThatIsOneWord) {
  write(0, blocks(std::string(4096, 'w'), 4));
  EXPECT_EQ(allocated_below(), 0u);
  EXPECT_TRUE(same(read(0, 4096), blocks(std::string(4096, 'w'), 4)));
}

TEST_F(AWordDisk, KeepsABlockThatIsAllButOneWord) {
  for (const size_t at : {size_t{0}, size_t{9}, size_t{4095}}) {
    Buffer block = blocks("w", 5);
    block.data()[at] ^= std::byte{1};
    write(50, block);
    EXPECT_TRUE(same(read(50, 1), block)) << at;
  }
}

TEST_F(AWordDisk, ReadsZeroesWhereNothingWasWritten) {
  EXPECT_TRUE(all_zero(read(0, 3).span()));
  EXPECT_TRUE(all_zero(read(size / block_size - 1, 1).span()));
}

TEST_F(AWordDisk, LosesBothKindsToADiscardAndNothingBeside) {
  for (const auto kind : {DiskOperation::Kind::discard, DiskOperation::Kind::prepare}) {
    const Buffer mixed = blocks(std::string(300, 'w') + std::string(300, 'm'), 6);
    write(0, mixed);
    run([&](IoBatch& batch) {
      if (kind == DiskOperation::Kind::discard)
        batch.discard(*disk_, block_size, 598 * block_size);
      else
        batch.prepare(*disk_, block_size, 598 * block_size);
    });
    EXPECT_TRUE(all_zero(read(1, 598).span()));
    EXPECT_EQ(std::memcmp(read(0, 1).data(), mixed.data(), block_size), 0);
    EXPECT_EQ(std::memcmp(read(599, 1).data(), mixed.blocks(599, 1).data(), block_size), 0);
    EXPECT_LE(allocated_below(), 4 * block_size);
  }
}

TEST_F(AWordDisk, KeepsPartsOfOneFileApart) {
  FileDiskOptions second;
  second.offset = 16 * mib;
  second.length = 16 * mib;
  const Buffer here = blocks("wmw", 7), there = blocks("mww", 8);
  write(0, here);
  open(second);
  write(0, there);
  EXPECT_TRUE(same(read(0, 3), there));
  open();
  EXPECT_TRUE(same(read(0, 3), here));
  EXPECT_TRUE(same(read(16 * mib / block_size, 3), there));
}

}  // namespace
}  // namespace lamina
