// SPDX-License-Identifier: Apache-2.0
// A pool with a family of devices, copies, discards, data below if there is a tier, and a tail of
// the log, whose metadata a test destroys.
// Thread-safety: none.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "engine_pool_fixture.h"
#include "tests/metadata_places.h"

namespace lamina {

class PoolWithDamage : public PoolOnSimulatedDisk,
                       public testing::WithParamInterface<std::optional<BlobKind>> {
 protected:
  using Place = MetadataPlaces::Place;
  using Classes = MetadataPlaces::Classes;
  static constexpr uint64_t device_blocks = 8192;

  void SetUp() override {
    format();
    open();
    fill();
  }
  void format() {
    // What others read is not to come from memory.
    settings_.nodes_bytes = 0;
    // Frames are read through what is remembered of their places.
    settings_.sums_bytes = GetParam() == BlobKind::compression ? mib : 0;
    auto blobs = blobs_on(medium_, *executor_, true);
    if (GetParam()) add_fresh_blob(blobs, slow_, *executor_, "below", *GetParam(), 1);
    ASSERT_TRUE(wait(Pool::format(blobs, {})));
  }
  void open() {
    Blobs blobs{blob_on(medium_, *executor_)};
    if (GetParam()) blobs.push_back(blob_on(slow_, *executor_));
    for (const auto& blob : blobs) ASSERT_TRUE(blob);
    blobs_ = blobs;
    Settings settings = settings_;
    settings.log = [this](Settings::Severity severity, const std::string& what) {
      if (severity != Settings::Severity::info) told_.push_back(what);
    };
    auto opened = wait(Pool::open(std::move(blobs), settings));
    ASSERT_TRUE(opened) << opened.error().message;
    pool_ = std::move(*opened);
  }
  void close() {
    auto closed = wait(pool_->close());
    ASSERT_TRUE(closed) << closed.error().message;
    pool_.reset();
  }
  void crash() {
    pool_.reset();
    medium_.power_cut(executor_->random());
    slow_.power_cut(executor_->random());
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
  }

  const std::vector<std::byte>& content(uint32_t version) {
    std::vector<std::byte>& data = contents_[version];
    if (!data.empty()) return data;
    std::mt19937_64 random(version);
    data.resize(block_size);
    for (size_t i = 0; i < block_size / 2; ++i) data[i] = static_cast<std::byte>(random());
    if (version == 0) std::fill(data.begin(), data.end(), std::byte{});
    return data;
  }
  using Versions = std::map<uint64_t, uint32_t>;  // by block; 0: zeroes
  void put(const std::string& name, uint64_t block) {
    const uint32_t version = ++version_;
    auto written = wait(pool_->write(pool_->find(name)->id, block * block_size, content(version)));
    ASSERT_TRUE(written) << written.error().message;
    devices_[name][block] = version;
  }
  void erase(const std::string& name, uint64_t block, uint64_t count) {
    ASSERT_TRUE(wait(pool_->erase(pool_->find(name)->id, block * block_size, count * block_size)));
    for (uint64_t i = 0; i < count; ++i) devices_[name][block + i] = 0;
  }
  void snapshot(const std::string& from, const std::string& to) {
    std::vector<Pool::Fork> forks{{pool_->find(from)->id, to}};
    ASSERT_TRUE(wait(pool_->fork(std::move(forks), false)));
    devices_[to] = devices_[from];
  }
  void copy(const std::string& from, uint64_t block, const std::string& to, uint64_t at,
            uint64_t count) {
    auto copied = wait(pool_->copy(pool_->find(from)->id, block * block_size, pool_->find(to)->id,
                                   at * block_size, count * block_size));
    ASSERT_TRUE(copied);
    for (uint64_t i = 0; i < *copied / block_size; ++i) {
      const auto found = devices_[from].find(block + i);
      devices_[to][at + i] = found == devices_[from].end() ? 0 : found->second;
    }
  }
  static Task<Result<>> ask_aging(Pool& pool) { co_return pool.ask_aging(); }
  static Task<void> pause(uint64_t ns) { co_await Sleep{ns}; }
  void sleep(uint64_t ns = 1'000'000'000) { ASSERT_TRUE(executor_->run_until(pause(ns))); }

  // Two devices of a family and one that shares by copies, all in several leaves, with discards;
  // what is in tiers below, if there are any; and something that no checkpoint has.
  void fill() {
    std::mt19937_64 random(7);
    for (const char* name : {"disk", "other"})
      ASSERT_TRUE(wait(pool_->create(name, device_blocks * block_size, {})));
    for (int i = 0; i < 2600; ++i) put("disk", random() % device_blocks);
    ASSERT_TRUE(wait(pool_->checkpoint()));
    snapshot("disk", "snap");
    for (int i = 0; i < 300; ++i) put("disk", random() % device_blocks);
    erase("disk", 1000, 200);
    erase("snap", 5000, 50);
    copy("disk", 2000, "other", 100, 300);
    ASSERT_TRUE(wait(pool_->checkpoint()));
    if (GetParam()) {
      ASSERT_TRUE(wait(ask_aging(*pool_)));
      while (pool_->status().aging_answered < pool_->status().aging_asked) sleep(1'000'000);
    }
    for (int i = 0; i < 100; ++i) put("snap", random() % device_blocks);
    copy("snap", 6000, "other", 4000, 100);
    ASSERT_TRUE(wait(pool_->checkpoint()));
    ASSERT_TRUE(wait(pool_->checkpoint()));
    for (int i = 0; i < 40; ++i) put("disk", random() % device_blocks);
    ASSERT_TRUE(wait(pool_->flush(pool_->find("disk")->id)));
    sleep(3'000'000'000);
  }
  void expect_all(const std::string& what, const std::set<std::string>& but = {}) {
    for (const auto& [name, versions] : devices_) {
      if (but.contains(name)) continue;
      const auto device = pool_->find(name);
      ASSERT_TRUE(device) << what;
      for (uint64_t at = 0; at < got_.size(); at += mib) {
        auto read = wait(pool_->read(device->id, at, got_.span().subspan(at, mib)));
        ASSERT_TRUE(read) << what << ", " << name << " at " << at << ": " << read.error().message;
      }
      const auto& zeroes = content(0);
      for (uint64_t block = 0; block < device_blocks; ++block) {
        const auto found = versions.find(block);
        const auto& wanted = found == versions.end() ? zeroes : content(found->second);
        ASSERT_EQ(0, std::memcmp(got_.data() + block * block_size, wanted.data(), block_size))
            << what << ", " << name << " block " << block;
      }
    }
  }

  MetadataPlaces places() {
    MetadataPlaces places;
    places.add(medium_, *blobs_[0]);
    if (GetParam()) places.add(slow_, *blobs_[1]);
    return places;
  }
  std::map<NodeId, MetadataPlaces::FoundNode> nodes() { return places().nodes(); }
  Classes classes() { return places().classes(); }
  void spoil(const Place& place) { MetadataPlaces::spoil(place, noise_); }
  // Some of each class.
  Classes some(Classes all, size_t most) {
    for (auto& [what, places] : all) {
      std::shuffle(places.begin(), places.end(), noise_);
      if (places.size() > most) places.resize(most);
    }
    return all;
  }
  void expect_healed(const std::string& what) {
    sleep();
    auto first = wait(pool_->heal_metadata());
    ASSERT_TRUE(first) << what << ": " << first.error().message;
    auto second = wait(pool_->heal_metadata());
    ASSERT_TRUE(second) << what << ": " << second.error().message;
    EXPECT_EQ(*second, 0u) << what;
    for (const LostRange& lost : pool_->lost())
      ADD_FAILURE() << what << ": " << lost.name << " from block " << lost.range.begin.value
                    << " to " << lost.range.end.value;
    EXPECT_EQ(pool_->status().health, "ok") << what;
  }

  SimMedium slow_{"slow", pool_bytes};
  Blobs blobs_;
  uint32_t version_ = 0;
  std::map<uint32_t, std::vector<std::byte>> contents_;  // by version
  Buffer got_{device_blocks * block_size};
  std::map<std::string, Versions> devices_;
  std::mt19937_64 noise_{11};
};

}  // namespace lamina
