// SPDX-License-Identifier: Apache-2.0
// Metadata in words: what a person reads of a block is what is in it, and whether to believe it.
#include <gtest/gtest.h>

#include "blobs/describe.h"
#include "formats_samples.h"

namespace lamina {
namespace {

void expect_words(const std::string& text, std::initializer_list<const char*> words) {
  for (const char* word : words) EXPECT_NE(text.find(word), std::string::npos) << word << text;
}

std::string describe_record(const RecordHeader& header, const Secret* secret) {
  Buffer block(block_size);
  pack_record(header, samples::secret(), samples::segment.blob, samples::segment.index,
              block.span());
  return describe_block(block.span(), secret);
}

TEST(Describe, ARecordIsToldWithEveryEntryAndItsChecksumJudgedByTheSecret) {
  const Secret secret = samples::secret(), wrong{};
  const std::string text = describe_record(samples::record(), &secret);
  expect_words(text, {"blob 1 segment 7 generation 42 block 10", "durable through: 990",
                      "#1000 write map 3 blocks 1000+2 at 11",
                      "#1004 create device 11 map 12 size 8589934592 \"vm1\"", "#1018 nothing",
                      "#999 write", "deadbeef", "right for this place"});
  expect_words(describe_record(samples::record(), &wrong), {"WRONG", "#1000 write"});
  expect_words(describe_record(samples::record(), nullptr), {"not checked", "#1000 write"});
  expect_words(describe_record(samples::first_record_of_an_epoch(), &secret),
               {"starts an epoch: cut at 995"});
}

TEST(Describe, TheOthersAreToldToo) {
  const Secret secret = samples::secret();
  Buffer block(block_size);
  pack_superblock(samples::superblock(), block.span());
  expect_words(describe_block(block.span(), nullptr),
               {"superblock", "\"fast\"", "10111213-1415-1617-1819-1a1b1c1d1e1f", "journal"});
  pack_segment_header(samples::segment_header(), block.span());
  expect_words(describe_block(block.span(), nullptr), {"class: moved", "state: sealed"});
  pack_slot(samples::slot(), secret, BlobId{1}, 17, block.span());
  expect_words(describe_block(block.span(), &secret),
               {"right for this place", "checkpoint: 17, oldest backed 16", "cut: 900"});
  pack_log_mark(samples::log_mark(), secret, BlobId{1}, 17, block.span());
  expect_words(describe_block(block.span(), &secret),
               {"log mark", "right for this place", "epoch: 5", "durable through: 899",
                "#870 fork", "vm1@monday"});
  const MetadataPlace place{BlobId{1}, 7, Generation{42}, 2047};
  pack_summary(samples::summary(5), secret, place, true, block.span());
  expect_words(describe_block(block.span(), &secret),
               {"right for this place", "(back)", "entries: 5, in this block 5", "#504 write"});
}

TEST(Describe, ASummaryOfSeveralBlocksTellsWhatLiesInItsHeader) {
  Buffer blocks(3 * block_size);
  const MetadataPlace place{BlobId{1}, 7, Generation{42}, 3};
  pack_summary(samples::summary(1000), samples::secret(), place, false, blocks.span());
  const std::string text = describe_block(blocks.blocks(0, 1), nullptr);
  expect_words(text, {"entries: 1000, in this block", "#500 write", "blocks: 3"});
  EXPECT_EQ(text.find("#1499"), std::string::npos);
}

TEST(Describe, DamageIsSaidWithTheReason) {
  Buffer block(block_size);
  pack_superblock(samples::superblock(), block.span());
  block.data()[200] ^= std::byte{1};
  expect_words(describe_block(block.span(), nullptr), {"does not decode", "checksum"});
}

TEST(Describe, WhatIsNoMetadataOfBlobsIsNotTold) {
  Buffer block(block_size);
  block.zero();
  EXPECT_EQ(describe_block(block.span(), nullptr), "");
  EXPECT_EQ(describe_block(block.blocks(0, 1).first(100), nullptr), "");
}

TEST(Describe, TheSecretIsNeverPrinted) {
  Buffer block(block_size);
  const Secret secret = samples::secret();
  pack_superblock(samples::superblock(), block.span());
  const std::string text = describe_block(block.span(), &secret);
  EXPECT_EQ(text.find("a0a1"), std::string::npos);
  EXPECT_EQ(text.find(to_text(secret)), std::string::npos);
}

TEST(Describe, NamesCannotMoveTheCursor) {
  Entry entry;
  entry.kind = EntryKind::unlink;
  entry.device = DeviceId{1};
  entry.name = "a\x1b[2Jb\n";
  EXPECT_EQ(describe_entry(entry), "#0 unlink device 1 \"a?[2Jb?\"");
}

}  // namespace
}  // namespace lamina
