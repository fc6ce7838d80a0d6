// SPDX-License-Identifier: Apache-2.0
// Forks: what each side holds, what they cost, and what comes back.
#include <gtest/gtest.h>

#include <map>

#include "base/buffer.h"
#include "engine_pool_fixture.h"

namespace lamina {
namespace {

// Devices of a few blocks, each block one of many versions, beside plain arrays.
class WithFamily : public PoolOnSimulatedDisk {
 protected:
  using Versions = std::vector<uint8_t>;  // by block; 0: never written

  DeviceId create(const std::string& name, uint64_t blocks) {
    auto made = wait(pool_->create(name, blocks * block_size, {}));
    EXPECT_TRUE(made) << made.error().message;
    family_[name] = Versions(blocks);
    return made->id;
  }
  Result<> put(const std::string& name, uint64_t block) {
    const uint8_t version = static_cast<uint8_t>(1 + executor_->random()() % 255);
    const auto data = pattern(block_size, version);
    auto written = wait(pool_->write(pool_->find(name)->id, block * block_size, data));
    if (written) family_[name][block] = version;
    return written;
  }
  void fill(const std::string& name) {
    for (uint64_t block = 0; block < family_[name].size(); ++block) {
      const auto written = put(name, block);
      ASSERT_TRUE(written) << block << ": " << written.error().message;
    }
  }
  void fork(const std::string& source, const std::string& name) {
    std::vector<Pool::Fork> forks;
    forks.push_back({pool_->find(source)->id, name});
    auto made = wait(pool_->fork(std::move(forks), false));
    ASSERT_TRUE(made) << made.error().message;
    family_[name] = family_[source];
  }
  void remove(const std::string& name) {
    auto removed = wait(pool_->remove(name));
    ASSERT_TRUE(removed) << removed.error().message;
    family_.erase(name);
  }
  void checkpoint() {
    const auto done = wait(pool_->checkpoint());
    ASSERT_TRUE(done) << done.error().message;
  }
  Task<Result<>> fork_during_walk(std::string source, std::string name) {
    LAMINA_CO_TRY(pool_->ask_shares());
    while (!pool_->status().walk.running) co_await Yield{};
    std::vector<Pool::Fork> forks;
    forks.push_back({pool_->find(source)->id, name});
    const auto made = co_await pool_->fork(std::move(forks), false);
    EXPECT_TRUE(pool_->status().walk.running);
    co_return made ? Result<>{} : Result<>(std::unexpect, made.error());
  }
  Task<void> write_part(DeviceId id, uint64_t offset, std::vector<std::byte> part, bool& done) {
    if (offset / block_size % 2 == 1) co_await Sleep{1};
    const auto written = co_await pool_->write(id, offset, part);
    EXPECT_TRUE(written);
    done = true;
  }
  Task<Result<>> start_part(DeviceId id, uint64_t offset, std::vector<std::byte> part, bool& done) {
    spawn(write_part(id, offset, std::move(part), done));
    co_await Yield{};
    co_return Result<>{};
  }
  // Meanwhile others go on.
  Task<Result<>> pass(uint64_t ns) {
    co_await Sleep{ns};
    co_return Result<>{};
  }
  void expect_family() {
    for (const auto& [name, versions] : family_) {
      SCOPED_TRACE(name);
      const DeviceId id = pool_->find(name)->id;
      for (size_t block = 0; block < versions.size(); ++block)
        expect_content(id, block * block_size,
                       versions[block] ? pattern(block_size, versions[block])
                                       : std::vector<std::byte>(block_size));
      if (HasFailure()) return;
    }
  }
  uint64_t random_block(const std::string& name) {
    return executor_->random()() % family_[name].size();
  }

  std::map<std::string, Versions> family_;
};

TEST_F(WithFamily, EachSideHoldsWhatItHeldThroughCheckpointsAndRemounts) {
  create("a", 64);
  fill("a");
  for (int i = 0; i < 40; ++i) {
    fork(i % 3 == 2 ? "s" + std::to_string(i - 1) : "a", "s" + std::to_string(i));
    for (int n = 0; n < 3; ++n) {
      ASSERT_TRUE(put("a", random_block("a")));
      ASSERT_TRUE(put("s" + std::to_string(i), random_block("a")));
    }
    if (i % 7 == 0) checkpoint();
    if (i % 15 == 14) remount();
    if (i % 4 == 3) remove("s" + std::to_string(i - 3));
  }
  expect_family();
  remove("a");  // the origin before its snapshots
  ASSERT_TRUE(wait(pool_->checkpoint()));
  expect_family();
  remount();
  expect_family();
}

TEST_F(WithFamily, CleaningCopiesABlockOnceHoweverManySnapshotsShareIt) {
  create("a", 4 * mib / block_size);
  fill("a");
  for (int i = 0; i < 24; ++i) {  // 24 leaves of their own, that refer to the same blocks
    fork("a", "s" + std::to_string(i));
    for (int n = 0; n < 8; ++n) ASSERT_TRUE(put("a", random_block("a")));
    ASSERT_TRUE(wait(pool_->checkpoint()));
  }
  create("b", 20 * mib / block_size);
  for (int i = 0; i < 24000; ++i) {  // what they share is moved, again and again
    const auto written = put("b", random_block("b"));
    ASSERT_TRUE(written) << i << ": " << written.error().message;
  }
  EXPECT_GT(pool_->status().moved_bytes, 4 * mib);
  EXPECT_LT(pool_->status().used, 30 * mib);
  expect_family();
  remount();
  expect_family();
}

TEST_F(WithFamily, AFullPoolUnderASnapshotGoesOnWhenTheSnapshotIsGone) {
  create("a", 24 * mib / block_size);
  fill("a");
  fork("a", "s");
  Result<> written;
  for (uint64_t block = 0; written && block < family_["a"].size(); ++block)
    written = put("a", block);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Code::no_space);
  expect_family();
  // What a has alone, because it was written since, it may overwrite for ever (promise 4).
  for (int i = 0; i < 200; ++i) {
    const auto again = put("a", static_cast<uint64_t>(i) % 64);
    ASSERT_TRUE(again) << i << ": " << again.error().message;
  }
  remove("s");
  for (int round = 0; round < 2; ++round) fill("a");
  expect_family();
}

TEST_F(WithFamily, RemovedInAnyOrderTheyLeaveNothing) {
  create("a", 128);
  fill("a");
  ASSERT_TRUE(wait(pool_->checkpoint()));
  const uint64_t used = pool_->status().used;
  std::vector<std::string> names;
  std::string last = "a";
  for (int i = 0; i < 150; ++i) {
    const std::string name = "s" + std::to_string(i);
    fork(i % 2 ? "a" : last, name);
    last = name;
    names.push_back(name);
    ASSERT_TRUE(put("a", random_block("a")));
    ASSERT_TRUE(put(name, random_block("a")));
  }
  expect_family();
  std::shuffle(names.begin(), names.end(), executor_->random());
  for (const std::string& name : names) {
    remove(name);
    if (executor_->random()() % 20 == 0) checkpoint();
  }
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(wait(pool_->checkpoint()));
    ASSERT_TRUE(put("a", 0));
  }
  EXPECT_LE(pool_->status().used, used + 64 * block_size);
  EXPECT_FALSE(pool_->find("a")->shares);
  expect_family();
}

TEST_F(WithFamily, RemovingOneOfAChainGivesBackWhatItHadAlone) {
  create("a", 512);
  fill("a");
  std::vector<std::string> names{"a"};
  for (int i = 0; i < 8; ++i) {
    const std::string name = "s" + std::to_string(i);
    fork(names[executor_->random()() % names.size()], name);
    names.push_back(name);
    for (const std::string& each : names)
      for (int n = 0; n < 20; ++n) ASSERT_TRUE(put(each, random_block(each)));
  }
  EXPECT_FALSE(pool_->find("s3")->share);
  ASSERT_TRUE(pool_->open_device(pool_->find("s5")->id, false));
  const DeviceId open = pool_->find("s5")->id;
  remove("s5");  // it is there until it is closed
  std::erase(names, "s5");
  std::shuffle(names.begin(), names.end(), executor_->random());
  uint64_t before = 0, exclusive = 0;
  for (const std::string& name : names) {
    ASSERT_TRUE(wait(pool_->count_shares()));
    if (before > 0) {
      EXPECT_EQ(pool_->status().data_bytes, before - exclusive) << name;
    }
    const auto info = pool_->find(name);
    ASSERT_TRUE(info->share);
    EXPECT_EQ(info->share->exclusive_bytes + info->share->shared_bytes, info->mapped_bytes);
    exclusive = info->share->exclusive_bytes;
    before = pool_->status().data_bytes;
    remove(name);
  }
  ASSERT_TRUE(wait(pool_->count_shares()));
  EXPECT_EQ(pool_->status().data_bytes, 512 * block_size);
  EXPECT_EQ(pool_->info(open)->share->exclusive_bytes, 512 * block_size);
}

TEST_F(WithFamily, WhatARemovalGivesBackShowsByItself) {
  create("a", 256);
  fill("a");
  checkpoint();
  const uint64_t metadata = pool_->status().metadata_bytes;
  fork("a", "s");
  fork("a", "t");
  fill("a");
  checkpoint();
  ASSERT_EQ(pool_->status().data_bytes, 512 * block_size);
  remove("s");  // t has all of it
  remove("t");
  fork("a", "u");  // so that it takes a walk to know
  wait(pass(2'000'000'000));
  EXPECT_EQ(pool_->status().data_bytes, 256 * block_size);
  EXPECT_TRUE(pool_->status().walk.complete);
  EXPECT_LT(pool_->status().metadata_bytes, metadata + block_size);  // nodes of "s" and "t" too
}

// A17: what changes a part of a block reads the rest of it, and must not have read what a rollback
// has taken away meanwhile.
TEST_F(WithFamily, APartOfABlockIsWrittenBeforeARollbackOrAfterIt) {
  const DeviceId id = create("a", 64);
  fill("a");
  fork("a", "s");
  const auto before = [&](uint64_t block) { return pattern(block_size, family_["s"][block]); };
  size_t part_kept = 0;
  for (uint64_t block = 0; block < 64; ++block) {
    ASSERT_TRUE(put("a", block));
    remount();  // what it was is read from the disk
    const auto part = pattern(512, 99);
    bool done = false;
    ASSERT_TRUE(wait(start_part(id, block * block_size + 1024, part, done)));
    const auto rolled = wait(pool_->roll_back(id, pool_->find("s")->id, true));
    ASSERT_TRUE(rolled) << rolled.error().message;
    while (!done) wait(pass(1000));
    std::vector<std::byte> got(block_size);
    ASSERT_TRUE(wait(pool_->read(id, block * block_size, got)));
    auto with_part = before(block);
    std::copy(part.begin(), part.end(), with_part.begin() + 1024);
    part_kept += got == with_part;
    ASSERT_TRUE(got == with_part || got == before(block)) << "block " << block;
  }
  EXPECT_GT(part_kept, 0U);
  EXPECT_LT(part_kept, 64U);
}

TEST_F(WithFamily, WhatIsErasedShowsByItself) {
  create("a", 256);
  fill("a");
  checkpoint();
  ASSERT_EQ(pool_->status().data_bytes, 256 * block_size);
  const DeviceId id = pool_->find("a")->id;
  ASSERT_TRUE(wait(pool_->erase(id, 0, 128 * block_size)));
  wait(pass(2'000'000'000));
  EXPECT_EQ(pool_->status().data_bytes, 128 * block_size);
  EXPECT_EQ(pool_->find("a")->mapped_bytes, 128 * block_size);
}

TEST_F(WithFamily, MetadataOfWhatIsGoneComesBackByItself) {
  const uint64_t metadata = pool_->status().metadata_bytes;
  for (int i = 0; i < 100; ++i) {
    const std::string name = "d" + std::to_string(i);
    create(name, 1);
    fill(name);
  }
  checkpoint();
  ASSERT_GT(pool_->status().metadata_bytes, metadata + 100 * block_size);
  for (int i = 0; i < 100; ++i) remove("d" + std::to_string(i));
  wait(pass(5'000'000'000));
  EXPECT_LT(pool_->status().metadata_bytes, metadata + 20 * block_size);
}

TEST_F(WithFamily, OneThatHasDivergedWhollySharesNoMore) {
  create("a", 64);
  fill("a");
  fork("a", "s");
  fill("a");
  ASSERT_TRUE(pool_->find("a")->shares);
  ASSERT_TRUE(wait(pool_->count_shares()));
  EXPECT_FALSE(pool_->find("a")->shares);
  EXPECT_FALSE(pool_->find("s")->shares);
  create("b", 1);
  remove("b");  // which makes what is shared be looked at again
  checkpoint();
  EXPECT_FALSE(pool_->find("a")->shares);
  fork("a", "t");
  checkpoint();
  EXPECT_TRUE(pool_->find("a")->shares);
  EXPECT_FALSE(pool_->find("s")->shares);
  ASSERT_TRUE(wait(pool_->count_shares()));
  EXPECT_TRUE(pool_->find("a")->shares);
  EXPECT_EQ(pool_->find("t")->share->exclusive_bytes, 0u);
  fill("t");
  fill("a");
  expect_family();
}

// A fork after the cut of the image that a walk reads counts, whatever the walk finds.
TEST_F(WithFamily, AForkDuringAWalkIsNotForgotten) {
  create("a", 64);
  fill("a");
  fork("a", "s");
  fill("a");
  checkpoint();
  ASSERT_TRUE(wait(fork_during_walk("a", "t")));
  while (pool_->status().walk.answered == 0) wait(pass(1000000));
  EXPECT_TRUE(pool_->find("a")->shares);
  EXPECT_TRUE(pool_->find("t")->shares);
  EXPECT_FALSE(pool_->find("s")->shares);
}

TEST_F(WithFamily, APoolThatClosesWaitsForNoFigures) {
  create("a", 64);
  fill("a");
  fork("a", "s");
  ASSERT_TRUE(wait(fork_during_walk("a", "t")));
  remount();
  EXPECT_FALSE(pool_->find("t")->share);
  expect_family();
}

TEST_F(WithFamily, AnImageThatWasWalkedIsNotWalkedAgain) {
  create("a", 64);
  fill("a");
  fork("a", "s");
  ASSERT_TRUE(wait(pool_->count_shares()));
  wait(pass(5'000'000'000));
  ASSERT_TRUE(wait(pool_->count_shares()));
  EXPECT_GE(pool_->status().walk.age_ns, 5'000'000'000u);
  EXPECT_GE(pool_->find("s")->share->age_ns, 5'000'000'000u);
  ASSERT_TRUE(put("a", 1));
  ASSERT_TRUE(wait(pool_->count_shares()));
  EXPECT_LT(pool_->status().walk.age_ns, 5'000'000'000u);
  EXPECT_EQ(pool_->find("a")->share->exclusive_bytes, block_size);
  EXPECT_EQ(pool_->find("a")->share->shared_bytes, 63 * block_size);
}

TEST_F(WithFamily, AForkInheritsNoReservation) {
  const DeviceId a = create("a", 64);
  ASSERT_TRUE(wait(pool_->reserve(a, 0, 32 * block_size, true)));
  fork("a", "s");
  EXPECT_EQ(pool_->find("a")->reserved_bytes, 32 * block_size);
  EXPECT_EQ(pool_->find("s")->reserved_bytes, 0u);
  const auto ranges = wait(pool_->map(pool_->find("s")->id, DeviceBlock{0}, 100));
  ASSERT_TRUE(ranges);
  EXPECT_EQ(ranges->front().state, RangeState::zero);
  ASSERT_TRUE(put("s", 3));
  EXPECT_EQ(pool_->find("a")->reserved_bytes, 32 * block_size);
  ASSERT_TRUE(wait(pool_->reserve(pool_->find("s")->id, 8 * block_size, 8 * block_size, true)));
  EXPECT_EQ(pool_->find("s")->reserved_bytes, 8 * block_size);
}

TEST_F(WithFamily, WhatHasNoNameAnyMoreCannotBeForked) {
  const DeviceId a = create("a", 8);
  ASSERT_TRUE(pool_->open_device(a, true));
  ASSERT_TRUE(wait(pool_->remove("a")));
  std::vector<Pool::Fork> forks;
  forks.push_back({a, "s"});
  const auto made = wait(pool_->fork(std::move(forks), false));
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Code::not_found);
}

TEST_F(WithFamily, SeveralAreForkedTogetherOrNoneIs) {
  create("a", 8);
  create("b", 8);
  fill("a");
  std::vector<Pool::Fork> forks;
  forks.push_back({pool_->find("a")->id, "a@"});
  forks.push_back({pool_->find("b")->id, "a"});
  const auto made = wait(pool_->fork(forks, false));
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Code::exists);
  EXPECT_FALSE(pool_->find("a@"));
}

// Their names fill many blocks of one step of the log.
class WithAThousandDevices : public WithFamily {
 protected:
  static constexpr size_t count = 1000;
  static std::string name(size_t i, const std::string& suffix) {
    const std::string number = std::to_string(i);
    return std::string(28 - number.size(), 'n') + number + suffix;
  }
  void SetUp() override {
    WithFamily::SetUp();
    for (size_t i = 0; i < count; ++i) {
      auto made = wait(pool_->create(name(i, ""), 4 * block_size, {}));
      ASSERT_TRUE(made) << made.error().message;
    }
    ASSERT_TRUE(wait(pool_->write(pool_->find(name(7, ""))->id, 0, pattern(block_size, 7))));
    checkpoint();
  }
  Task<Result<std::vector<DeviceInfo>>> fork_all(const std::string& suffix) {
    std::vector<Pool::Fork> forks;
    for (size_t i = 0; i < count; ++i)
      forks.push_back({pool_->find(name(i, ""))->id, name(i, suffix)});
    return pool_->fork(std::move(forks), false);
  }
  Task<Result<>> fork_all_durably(std::string suffix) {
    auto forking = fork_all(suffix);
    auto forked = co_await forking;
    if (!forked) co_return forward_error(forked);
    auto flushing = pool_->flush(forked->front().id);
    co_return co_await flushing;
  }
  // The first that holds the text.
  void damage_block_with(const std::string& text) {
    Buffer block(block_size);
    for (uint64_t at = 0; at < pool_bytes; at += block_size) {
      medium_.read(at, block.span());
      const std::string_view bytes(reinterpret_cast<const char*>(block.data()), block_size);
      if (bytes.find(text) == std::string_view::npos) continue;
      const std::vector<std::byte> nothing(block_size);
      return medium_.damage(at, nothing);
    }
    FAIL() << "no block holds " << text;
  }
  size_t made(const std::string& suffix) {
    size_t found = 0;
    for (size_t i = 0; i < count; ++i) found += pool_->find(name(i, suffix)) ? 1 : 0;
    return found;
  }
};

TEST_F(WithAThousandDevices, AllAreForkedInOneStepAndOutliveARemount) {
  const auto forked = wait(fork_all("@all"));
  ASSERT_TRUE(forked) << forked.error().message;
  EXPECT_EQ(forked->size(), count);
  ASSERT_TRUE(wait(pool_->write(pool_->find(name(7, ""))->id, 0, pattern(block_size, 8))));
  ASSERT_TRUE(wait(pool_->sync()));
  crash();
  EXPECT_EQ(made("@all"), count);
  expect_content(pool_->find(name(7, "@all"))->id, 0, pattern(block_size, 7));
  remount();
  EXPECT_EQ(made("@all"), count);
}

TEST_F(WithAThousandDevices, AllOfThemOrNoneSurviveACrash) {
  size_t whole = 0, none = 0;
  for (int round = 0; round < 12; ++round) {
    const std::string suffix = "@" + std::to_string(round);
    executor_->crash_after(executor_->random()() % 6);  // as far as its record may have come
    Result<> forked;
    executor_->run_until(fork_all_durably(suffix), forked);
    crash();
    const size_t found = made(suffix);
    ASSERT_TRUE(found == 0 || found == count) << found;
    ++(found ? whole : none);
    for (size_t i = 0; i < found; ++i) ASSERT_TRUE(wait(pool_->remove(name(i, suffix))));
  }
  EXPECT_GT(whole, 0U);
  EXPECT_GT(none, 0U);
}

// B1: no one block takes devices with it.
TEST_F(WithAThousandDevices, ADamagedBlockOfTheirNamesCostsNothing) {
  ASSERT_TRUE(wait(fork_all("@all")));
  ASSERT_TRUE(wait(pool_->flush(pool_->find(name(0, "@all"))->id)));
  // A later record knows that it was durable (A2).
  const DeviceId written = pool_->find(name(7, ""))->id;
  ASSERT_TRUE(wait(pool_->write(written, 0, pattern(block_size, 8))));
  ASSERT_TRUE(wait(pool_->flush(written)));
  damage_block_with(name(500, "@all"));
  crash();
  EXPECT_EQ(made("@all"), count);
}

TEST_F(WithFamily, ARollbackTakesTheSnapshotsStateAndLeavesItAlone) {
  const DeviceId a = create("a", 32), other = create("other", 32);
  fill("a");
  fork("a", "s");
  fill("a");
  ASSERT_TRUE(wait(pool_->resize(a, 40 * block_size)));
  const DeviceId s = pool_->find("s")->id;
  EXPECT_EQ(wait(pool_->roll_back(a, other, false)).error().code, Code::invalid);
  ASSERT_TRUE(pool_->open_device(a, false));
  EXPECT_EQ(wait(pool_->roll_back(a, s, false)).error().code, Code::busy);
  ASSERT_TRUE(wait(pool_->close_device(a, false)));
  ASSERT_TRUE(wait(pool_->roll_back(a, s, false)));
  family_["a"] = family_["s"];
  EXPECT_EQ(pool_->info(a)->size_bytes, 32 * block_size);
  expect_family();
  fill("a");
  expect_family();
  remove("s");
  remount();
  expect_family();
}

}  // namespace
}  // namespace lamina
