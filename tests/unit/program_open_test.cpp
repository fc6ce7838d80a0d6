// SPDX-License-Identifier: Apache-2.0
// Members that cannot be had by typing: newer formats, and copies of one blob.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/buffer.h"
#include "blobs/uring_loop.h"
#include "tools/check.h"
#include "tools/make_pool.h"
#include "tools/open_pool.h"
#include "tools/signature.h"

namespace lamina {
namespace {

namespace fs = std::filesystem;

class WithPoolOfTwo : public testing::Test {
 protected:
  WithPoolOfTwo()
      : folder_(fs::path("/var/tmp") / ("with_pool_of_two." + std::to_string(getpid()))),
        loop_(UringLoop::create({}).value()) {
    fs::create_directory(folder_);
    config_.from_yaml = true;
    config_.name = "two";
    for (const std::string name : {"first", "second"}) {
      BlobConfig blob;
      blob.name = name;
      blob.path = path(name);
      config_.blobs.push_back(blob);
      make_file(blob.path);
    }
    auto made = loop_->run_until(make_pool(config_, false, Attributes{}));
    EXPECT_TRUE(made) << made.error().message;
  }
  ~WithPoolOfTwo() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return folder_ / name; }
  static void make_file(const std::string& path) {
    const int file = open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ASSERT_GE(file, 0);
    ASSERT_EQ(ftruncate(file, 64 * mib), 0);
    close(file);
  }

  Result<OpenedBlobs> open_it(bool read_only = false) {
    return loop_->run_until(open_blobs(config_, read_only));
  }

  // Every copy of the superblock of a blob, changed.
  template <class Change>
  void change_superblocks(const std::string& name, Change change) {
    Superblock superblock;
    {
      auto opened = open_it();
      ASSERT_TRUE(opened) << opened.error().message;
      for (const auto& blob : opened->blobs)
        if (blob->superblock().blob_name == name) superblock = blob->superblock();
    }
    change(superblock);
    Buffer block(block_size);
    pack_superblock(superblock, block.span());
    const int file = open(path(name).c_str(), O_WRONLY | O_CLOEXEC);
    const uint64_t last = superblock.size - block_size;
    for (const uint64_t offset : {uint64_t{0}, superblock.middle, last})
      ASSERT_EQ(pwrite(file, block.data(), block_size, static_cast<off_t>(offset)), block_size);
    close(file);
  }

  const fs::path folder_;
  std::unique_ptr<UringLoop> loop_;
  PoolConfig config_;
};

constexpr uint64_t of_a_newer_lamina = uint64_t{1} << 63;

TEST_F(WithPoolOfTwo, ItOpensAndIsClean) {
  {
    const auto opened = open_it();
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_EQ(opened->pool_name, "two");
    EXPECT_EQ(opened->blobs.size(), 2u);
    EXPECT_TRUE(opened->warnings.empty());
  }
  const auto report = loop_->run_until(check_pool(config_, CheckOptions{}));
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_FALSE(report->damaged());
}

TEST_F(WithPoolOfTwo, ANewerFormatIsRefusedNamingTheMember) {
  change_superblocks("second", [](Superblock& s) { s.incompat = of_a_newer_lamina; });
  const auto opened = open_it();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::unsupported);
  EXPECT_NE(opened.error().message.find(path("second")), std::string::npos)
      << opened.error().message;
}

TEST_F(WithPoolOfTwo, AFormatThatMayOnlyBeReadIsRead) {
  change_superblocks("second", [](Superblock& s) { s.ro_compat = of_a_newer_lamina; });
  const auto opened = open_it();
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find("-o ro"), std::string::npos) << opened.error().message;
  EXPECT_TRUE(open_it(true));
}

TEST_F(WithPoolOfTwo, AMemberOfAnotherPoolOfTheSameNameIsRefused) {
  PoolConfig other = config_;
  other.blobs.erase(other.blobs.begin());
  ASSERT_TRUE(loop_->run_until(make_pool(other, true, Attributes{})));
  const auto opened = open_it();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::invalid);
  EXPECT_NE(opened.error().message.find("another pool"), std::string::npos)
      << opened.error().message;
}

TEST_F(WithPoolOfTwo, ACopyOfTheOtherMemberIsRefused) {
  fs::copy_file(path("first"), path("second"), fs::copy_options::overwrite_existing);
  const auto opened = open_it();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::invalid);
}

TEST_F(WithPoolOfTwo, WhileItIsOpenNobodyElseHasIt) {
  const auto opened = open_it();
  ASSERT_TRUE(opened);
  const auto second = open_it();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::busy);
}

TEST_F(WithPoolOfTwo, NothingIsWrittenWhenOneTargetIsRefused) {
  make_file(path("third"));
  PoolConfig config = config_;
  config.blobs[0].path = path("third");
  const auto made = loop_->run_until(make_pool(config, false, Attributes{}));
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Code::exists);
  EXPECT_TRUE(open_it()) << "the pool that was there is damaged";
  const auto holds = find_signature_of(path("third"), 0, 0);
  ASSERT_TRUE(holds);
  EXPECT_FALSE(*holds) << **holds;
}

}  // namespace
}  // namespace lamina
