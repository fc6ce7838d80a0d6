// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "config/pool_config.h"

namespace lamina {
namespace {

const char* const small_pool = R"(pool: vmstore
blobs:
  - {name: fast, kind: journal, path: /dev/fast}
)";

// What the message of the error says; fails where there is none.
std::string refusal(const std::string& text) {
  const auto config = parse_pool_config(text, "/etc/lamina/vmstore.yaml");
  EXPECT_FALSE(config) << text;
  return config ? "" : config.error().message;
}

void expect_refused_at(const std::string& text, const std::string& place, const std::string& key,
                       const std::string& why) {
  const std::string message = refusal(text);
  EXPECT_NE(message.find("/etc/lamina/vmstore.yaml:" + place + ":"), std::string::npos) << message;
  EXPECT_NE(message.find(key), std::string::npos) << message;
  EXPECT_NE(message.find(why), std::string::npos) << message;
}

TEST(PoolConfig, TheDefaultsServeWithoutAnyPolicy) {
  const auto config = parse_pool_config(small_pool, "/etc/lamina/vmstore.yaml");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->name, "vmstore");
  EXPECT_EQ(config->memory.nodes, 256 * mib);
  EXPECT_EQ(config->flush_after_ns, 1'000'000'000u);
  EXPECT_EQ(config->verify, PoolConfig::Verify::reads);
  EXPECT_EQ(config->preallocate, PoolConfig::Preallocate::reserve);
  EXPECT_EQ(config->log, "journal");
  EXPECT_EQ(config->segment_bytes, 0u);
  ASSERT_EQ(config->blobs.size(), 1u);
  EXPECT_EQ(config->blobs[0].tier, 0u);
}

TEST(PoolConfig, EveryKeyOfAPoolFileIsRead) {
  const auto config = parse_pool_config(R"(pool: vmstore
blobs:
  - {name: fast, kind: journal,     path: /dev/fast, tier: 0, offset: 1M, size: 10G}
  - {name: bulk, kind: transparent, path: /dev/bulk, tier: 1}
  - {name: cold, kind: compression, path: /dev/cold, tier: 2, level: 9}
aging:
  fast: {keep_free: 30%, idle: 10m}
memory: {nodes: 16M, layers: 32M, tail: 33M, sums: 34M, frames: 35M, requests: 36M}
verify: moves
flush_after: 2s
segment: 4M
erase: 64K
reserve: 5%
reactors: 2
preallocate: check
promote: true
origins: [/srv/images]
log: /var/log/lamina.log
)",
                                        "/etc/lamina/vmstore.yaml");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->blobs[0].offset, mib);
  EXPECT_EQ(config->blobs[0].size, 10 * gib);
  EXPECT_EQ(config->blobs[1].kind, BlobConfig::Kind::transparent);
  EXPECT_EQ(config->blobs[2].level, 9);
  EXPECT_EQ(config->blobs[2].tier, 2u);
  EXPECT_DOUBLE_EQ(config->aging.at("fast").keep_free_percent, 30);
  EXPECT_EQ(config->aging.at("fast").idle_ns, 600'000'000'000u);
  EXPECT_EQ(config->memory.nodes, 16 * mib);
  EXPECT_EQ(config->memory.requests, 36 * mib);
  EXPECT_EQ(config->verify, PoolConfig::Verify::moves);
  EXPECT_EQ(config->flush_after_ns, 2'000'000'000u);
  EXPECT_EQ(config->segment_bytes, 4 * mib);
  EXPECT_EQ(config->erase_bytes, 64 * kib);
  EXPECT_DOUBLE_EQ(config->reserve_percent, 5);
  EXPECT_EQ(config->reactors, 2u);
  EXPECT_EQ(config->preallocate, PoolConfig::Preallocate::check);
  EXPECT_TRUE(config->promote);
  EXPECT_EQ(config->origins, std::vector<std::string>{"/srv/images"});
  EXPECT_EQ(config->log, "/var/log/lamina.log");
}

TEST(PoolConfig, AnUnknownKeyIsRefusedWithItsPlace) {
  expect_refused_at(std::string(small_pool) + "flush_afer: 1s\n", "4:1", "flush_afer",
                    "unknown key");
  expect_refused_at("pool: p\nblobs:\n  - {name: a, kind: journal, path: /x, teir: 0}\n", "3",
                    "blobs[0].teir", "unknown key");
  expect_refused_at(std::string(small_pool) + "memory: {node: 4M}\n", "4", "memory.node",
                    "unknown key");
}

TEST(PoolConfig, AKeyGivenTwiceIsRefused) {
  expect_refused_at(std::string(small_pool) + "verify: reads\nverify: moves\n", "5:1", "verify",
                    "twice");
}

TEST(PoolConfig, ADoubledNameIsRefusedNamingTheFirst) {
  expect_refused_at(
      "pool: p\nblobs:\n  - {name: a, kind: journal, path: /x}\n  - {name: a, kind: journal, path: "
      "/y}\n",
      "4", "blobs[1].name", "vmstore.yaml:3");
}

TEST(PoolConfig, AMissingJournalIsRefused) {
  expect_refused_at("pool: p\nblobs:\n  - {name: a, kind: transparent, path: /x, tier: 1}\n", "2",
                    "blobs", "journal");
  expect_refused_at("pool: p\nblobs:\n  - {name: a, kind: journal, path: /x, tier: 1}\n", "2",
                    "blobs", "tier 0");
}

TEST(PoolConfig, OverlappingPartsAreRefusedThroughLinksToo) {
  expect_refused_at(
      "pool: p\nblobs:\n  - {name: a, kind: journal, path: /x}\n"
      "  - {name: b, kind: journal, path: /y/../x}\n",
      "4", "blobs[1].path", "overlaps");
  expect_refused_at(
      "pool: p\nblobs:\n  - {name: a, kind: journal, path: /x, size: 128M}\n"
      "  - {name: b, kind: journal, path: /x, offset: 127M, size: 64M}\n",
      "4", "blobs[1].path", "overlaps");

  const auto folder =
      std::filesystem::temp_directory_path() / ("config_pool_test." + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  std::ofstream(folder / "disk") << "x";
  std::filesystem::create_symlink("disk", folder / "link");
  const std::string text =
      "pool: p\nblobs:\n  - {name: a, kind: journal, path: " + (folder / "disk").string() +
      "}\n  - {name: b, kind: journal, path: " + (folder / "link").string() + "}\n";
  expect_refused_at(text, "4", "blobs[1].path", "overlaps");
  std::filesystem::remove_all(folder);
}

TEST(PoolConfig, PartsSideBySideAreFine) {
  const auto config = parse_pool_config(
      "pool: p\nblobs:\n  - {name: a, kind: journal, path: /x, size: 128M}\n"
      "  - {name: b, kind: journal, path: /x, offset: 128M}\n",
      "/etc/p.yaml");
  EXPECT_TRUE(config) << config.error().message;
}

TEST(PoolConfig, BadValuesNameTheKeyAndWhatWasExpected) {
  const std::string base = small_pool;
  expect_refused_at(base + "verify: always\n", "4:1", "verify", "reads, moves");
  expect_refused_at(base + "flush_after: soon\n", "4:1", "flush_after", "expected a duration");
  expect_refused_at(base + "flush_after: 2d\n", "4:1", "flush_after", "from 10ms to 1h");
  expect_refused_at(base + "memory: {nodes: 1K}\n", "4", "memory.nodes", "from 4M");
  expect_refused_at(base + "memory: {nodes: 1X}\n", "4", "memory.nodes", "expected a size");
  expect_refused_at(base + "memory: 1G\n", "4", "memory", "keys and values");
  expect_refused_at(base + "reactors: 0\n", "4:1", "reactors", "from 1 to 64");
  expect_refused_at(base + "reactors: -1\n", "4:1", "reactors", "whole number");
  expect_refused_at(base + "segment: 300K\n", "4:1", "segment", "multiple of 256K");
  expect_refused_at(base + "aging: {slow: {idle: 1m}}\n", "4", "aging.slow", "no blob");
  expect_refused_at(base + "aging: {fast: {keep_free: 30}}\n", "4", "aging.fast.keep_free",
                    "percentage");
  expect_refused_at(base + "origins: [images]\n", "4:1", "origins", "absolute");
  expect_refused_at(base + "log: lamina.log\n", "4:1", "log", "absolute");
  expect_refused_at("pool: a/b\nblobs: []\n", "1:1", "pool", "letters");
  expect_refused_at("pool: p\nblobs: []\n", "2:1", "blobs", "at least one");
  expect_refused_at("pool: p\n", "1", "blobs", "missing");
  expect_refused_at("pool: p\nblobs:\n  - {name: a, kind: zip, path: /x}\n", "3", "blobs[0].kind",
                    "journal, transparent, compression");
  expect_refused_at("pool: p\nblobs:\n  - {name: a, kind: journal}\n", "3", "blobs[0]", "path");
  expect_refused_at("pool: p\nblobs:\n  - {name: a, kind: journal, path: /x, level: 3}\n", "3",
                    "blobs[0].level", "compression");
  expect_refused_at("pool: p\nblobs:\n  - {name: a, kind: journal, path: /x, size: 1M}\n", "3",
                    "blobs[0].size", "from 64M");
}

TEST(PoolConfig, WhatIsNoYamlIsSaidToBe) {
  expect_refused_at("pool: [\n", "2:1", "", "not YAML");
  EXPECT_NE(refusal("").find("empty"), std::string::npos);
  EXPECT_NE(refusal("hello\n").find("neither a pool file"), std::string::npos);
}

// The folder is of this process, so that tests may run side by side.
class WithPoolFile : public testing::Test {
 protected:
  WithPoolFile()
      : folder_(std::filesystem::temp_directory_path() /
                ("with_pool_file." + std::to_string(getpid()))) {
    std::filesystem::create_directory(folder_);
  }
  ~WithPoolFile() override { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& text) {
    std::ofstream(folder_ / "p.yaml") << text;
    return folder_ / "p.yaml";
  }
  std::filesystem::path folder_;
};

TEST_F(WithPoolFile, RelativePathsAreInTheFoldersOfTheFile) {
  const auto config =
      load_pool_config(write("pool: p\nblobs:\n  - {name: a, kind: journal, path: disk.img}\n"));
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->blobs[0].path, folder_ / "disk.img");
}

TEST_F(WithPoolFile, ABigFileIsAPoolItself) {
  const std::string path = folder_ / "pool.img";
  std::ofstream(path) << "pool: not-yaml-at-all";
  std::filesystem::resize_file(path, 64 * mib);
  const auto config = load_pool_config(path);
  ASSERT_TRUE(config);
  EXPECT_FALSE(config->from_yaml);
  ASSERT_EQ(config->blobs.size(), 1u);
  EXPECT_EQ(config->blobs[0].path, path);
}

TEST_F(WithPoolFile, AMissingFileAndADirectoryAreRefusedByName) {
  const auto missing = load_pool_config(folder_ / "none.yaml");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::not_found);
  EXPECT_NE(missing.error().message.find("none.yaml"), std::string::npos);
  EXPECT_FALSE(load_pool_config(folder_));
}

TEST_F(WithPoolFile, AProgramIsRunOnlyFromAFileThatNobodyElseCanWrite) {
  const std::string path = write(std::string(small_pool) + "on_low_space: /usr/bin/true\n");
  chmod(path.c_str(), 0644);
  EXPECT_TRUE(load_pool_config(path));
  chmod(path.c_str(), 0664);
  const auto config = load_pool_config(path);
  ASSERT_FALSE(config);
  EXPECT_NE(config.error().message.find("chmod go-w"), std::string::npos);
}

}  // namespace
}  // namespace lamina
