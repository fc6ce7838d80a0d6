// SPDX-License-Identifier: Apache-2.0
// A pool whose maps and checkpoints are destroyed, and something of its segments too, is repaired:
// what is not told by anything any more is EIO, and nothing is older than it should be.
#include <gtest/gtest.h>

#include "engine/missing_disk.h"
#include "engine/rebuild_scan.h"
#include "engine_repair_fixture.h"

namespace lamina {
namespace {

// The summaries tell what is where, so nothing older is taken for it; what cannot be verified is
// EIO, and no more than that.
TEST_P(ADamagedPool, ArraysOfChecksumsThatNothingCanMakeAgainAreNoReasonToRefuseIt) {
  close();
  std::mt19937_64 random(3);
  uint64_t payload_destroyed = 0;
  for (const auto& [what, places] : classes()) {
    const bool second = what.starts_with("second array");
    if (!second && !what.starts_with("array")) continue;
    for (const Place& array : places) {
      spoil(array);
      if (second) continue;
      // Of its payload the last block, so that nothing makes it again.
      const Place header{array.medium, array.offset - block_size};
      const auto segment = unpack_segment_header(MetadataPlaces::read(header).span());
      if (!segment || segment->used_end == 0) continue;
      spoil({array.medium, header.offset + uint64_t{segment->used_end - 1} * block_size});
      ++payload_destroyed;
    }
  }
  ASSERT_GT(payload_destroyed, 0u);
  destroy_maps();
  const auto repaired = repair_it();
  ASSERT_TRUE(repaired) << repaired.error().message;
  open();
  const uint64_t lost = unreadable();
  EXPECT_GT(lost, 0u);
  if (!GetParam()) {  // its records say the rest
    EXPECT_LE(lost, payload_destroyed * devices_.size());
  }
}

// The maps say which ranges refer to what is gone: those alone are in doubt.
TEST_P(ADamagedPool, ASegmentThatIsGoneCostsWhatMapsReferToInIt) {
  close();
  open();
  InUse victim;
  Blocks there;
  for (const InUse& segment : segments()) {
    const Blocks blocks = blocks_of([&](const MappedRange& range) {
      return range.address.generation == segment.header.generation;
    });
    if (blocks.size() <= there.size()) continue;
    victim = segment;
    there = blocks;
  }
  ASSERT_GT(there.size(), 100u);
  close();
  destroy(victim);
  const auto repaired = repair_it();
  ASSERT_TRUE(repaired) << repaired.error().message;
  EXPECT_EQ(repaired->untold.size(), 1u);
  open();
  EXPECT_GE(unreadable(), there.size());
  EXPECT_GE(suspect_bytes(), there.size() * block_size);
  for (const auto& [name, versions] : devices_)
    for (const auto& [block, version] : versions)
      EXPECT_TRUE(version == 0 || there.contains({name, block}) || readable(name, block))
          << name << " block " << block;
}

// There is a place for what a repair writes in a pool that has none for anybody else.
TEST_P(ADamagedPool, IsRepairedWhenItIsFull) {
  if (GetParam()) GTEST_SKIP() << "the log's blob is not what fills up";
  ASSERT_TRUE(wait(pool_->create("rest", 2 * pool_bytes, {})));
  Result<> written;
  for (uint64_t at = 0; written && at < 2 * pool_bytes; at += mib)
    written = wait(pool_->write(pool_->find("rest")->id, at, pattern(mib, 5)));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Code::no_space);
  ASSERT_TRUE(wait(pool_->flush(pool_->find("rest")->id)));
  sleep(3'000'000'000);
  crash();
  const std::vector<InUse> all = segments();
  for (size_t i = 0; i < all.size(); i += 4) destroy(all[i]);
  destroy_maps();
  const auto repaired = repair_it();
  ASSERT_TRUE(repaired) << repaired.error().message;
  EXPECT_FALSE(repaired->untold.empty());
  open();
  unreadable();
}

class APoolOfCopies : public ADamagedPool {
 protected:
  // Destroys the segment that states most of what was copied; what lay in it.
  void destroy_home() {
    close();
    open();
    close();
    const Blobs blobs = blobs_again();
    std::vector<Blob*> all;
    for (const auto& blob : blobs) all.push_back(blob.get());
    const auto scan = wait(scan_segments(all));
    ASSERT_TRUE(scan);
    std::map<Generation, uint64_t> shared;  // blocks, by who states them
    for (const ScannedEntry& one : scan->entries)
      if (one.entry.kind == EntryKind::alias)
        shared[scan->generation_of(one)] += one.entry.length.value;
    ASSERT_FALSE(shared.empty());
    const auto most = std::ranges::max_element(shared, {}, [](const auto& s) { return s.second; });
    ASSERT_GE(most->second, 50u);
    const Generation home = most->first;
    open();
    there_ = blocks_of([&](const MappedRange& range) { return range.address.generation == home; });
    close();
    for (const InUse& segment : segments())
      if (segment.header.generation == home) destroy(segment);
  }
  void expect_the_rest() {
    for (const auto& [name, versions] : devices_)
      for (const auto& [block, version] : versions)
        if (version != 0 && !there_.contains({name, block})) {
          EXPECT_TRUE(readable(name, block)) << name << " block " << block;
        }
    unreadable();
  }

  Blocks there_;
};

// What a segment stated that is gone the maps know as well; and from then on another segment does.
TEST_P(APoolOfCopies, KeepsThoseThatASegmentStatedThatIsGone) {
  ASSERT_NO_FATAL_FAILURE(destroy_home());
  for (const bool again : {false, true}) {
    SCOPED_TRACE(again);
    if (again) destroy_maps();
    const auto repaired = repair_it();
    ASSERT_TRUE(repaired) << repaired.error().message;
    EXPECT_EQ(repaired->untold.size(), again ? 0u : 1u);
    open();
    expect_the_rest();
    close();
  }
}

// Nothing that a repair has written, but its slot, takes anything from what the next one finds.
TEST_P(APoolOfCopies, IsRepairedAsWellAfterRepairsThatWereCutOff) {
  ASSERT_NO_FATAL_FAILURE(destroy_home());
  bool cut_off = true;
  for (uint64_t steps = 100; cut_off && steps < 20'000; steps += 97) {
    Settings settings = settings_;
    settings.log = [](Settings::Severity, const std::string&) {};
    executor_->crash_after(steps);
    Result<RepairReport> out;
    cut_off = !executor_->run_until(repair(blobs_again(), settings, false), out);
    for (SimMedium* medium : {&medium_, &slow_}) medium->power_cut(executor_->random());
    executor_ = std::make_unique<SimExecutor>(executor_->steps());
    EXPECT_TRUE(cut_off || out) << out.error().message;
  }
  ASSERT_FALSE(cut_off);
  open();
  expect_the_rest();
}

INSTANTIATE_TEST_SUITE_P(Kinds, APoolOfCopies,
                         testing::Values(std::nullopt, BlobKind::transparent,
                                         BlobKind::compression),
                         [](const auto& one) {
                           return one.param ? name_of(*one.param) : std::string("journal");
                         });

// With the maps gone too nothing bounds it but the devices.
TEST_P(ADamagedPool, WithoutMapsNothingOlderIsTakenForWhatASegmentHeld) {
  close();
  const std::vector<InUse> all = segments();
  for (size_t i = 0; i < all.size(); i += 5) destroy(all[i]);
  destroy_maps();
  const auto repaired = repair_it();
  ASSERT_TRUE(repaired) << repaired.error().message;
  EXPECT_FALSE(repaired->suspect.empty());
  open();
  EXPECT_GT(unreadable(), 0u);
  ASSERT_FALSE(HasFailure());

  // It stays so, over mounts, checkpoints and another repair; a snapshot is as suspect.
  const uint64_t suspect = suspect_bytes();
  close();
  destroy_maps();
  const auto again = repair_it();
  ASSERT_TRUE(again) << again.error().message;
  open();
  EXPECT_EQ(suspect_bytes(), suspect);
  const LostRange one = pool_->suspect().front();
  const uint64_t block = one.range.begin.value;
  snapshot(one.name, "later");
  EXPECT_FALSE(readable("later", block));

  // What is written there is there, and the rest as suspect as it was.
  put(one.name, block);
  put(one.name, block + 1);
  ASSERT_TRUE(wait(pool_->checkpoint()));
  close();
  open();
  EXPECT_TRUE(readable(one.name, block));
  EXPECT_FALSE(readable("later", block));
  unreadable();
  ASSERT_FALSE(HasFailure());

  // A person takes what there is, for one device; for good, and for no other.
  const DeviceId device = pool_->find(one.name)->id;
  const auto accepted = wait(pool_->accept_suspect(device));
  ASSERT_TRUE(accepted) << accepted.error().message;
  EXPECT_EQ(wait(pool_->accept_suspect(device)).error().code, Code::invalid);
  crash();
  open();
  EXPECT_EQ(pool_->info(device)->suspect_bytes, 0u);
  EXPECT_FALSE(readable("later", block));
  for (uint64_t b = one.range.begin.value; b < one.range.end.value; ++b) {
    std::vector<std::byte> got(block_size);
    const auto read = wait(pool_->read(device, b * block_size, got));
    EXPECT_TRUE(read || read.error().code == Code::io);
  }
  EXPECT_EQ(got_of(one.name, block), content(devices_[one.name][block]));
}

// Of a pool that was killed, zeroes over segments in a row, the log's newest among them or not:
// what can be read is the newest. But where nothing at all tells that there was more.
TEST_P(ADamagedPool, ZeroesOverARangeOfItNeverBringAnythingOlderBack) {
  if (GetParam()) GTEST_SKIP() << "the log is in the other blob";
  for (int i = 0; i < 400; ++i) {
    put(i % 3 == 0 ? "disk" : "snap", noise_() % device_blocks);
    if (i % 16 != 0) continue;
    ASSERT_TRUE(wait(pool_->flush(pool_->find("disk")->id)));
  }
  ASSERT_TRUE(wait(pool_->flush(pool_->find("snap")->id)));
  sleep(3'000'000'000);
  crash();
  const auto whole = medium_.clone();
  const std::shared_ptr<Blob> kept = blobs_[0];
  const Blob& blob = *kept;
  uint32_t newest = 0;  // index of the log's newest segment
  Generation generation = Generation::none;
  Buffer block(block_size);
  for (uint32_t i = 0; i < blob.segment_count(); ++i) {
    medium_.read(blob.offset(i, 0), block.span());
    const auto header = unpack_segment_header(block.span());
    if (!header || header->kind != SegmentClass::log || header->generation < generation) continue;
    generation = header->generation;
    newest = i;
  }
  int told = 0;
  const std::vector<std::byte> nothing(blob.segment_bytes());
  for (uint32_t first = newest > 12 ? newest - 12 : 0; first <= newest; first += 2) {
    for (const uint32_t count : {3U, 14U}) {
      SCOPED_TRACE(std::to_string(count) + " segments from " + std::to_string(first));
      Buffer all(pool_bytes);
      whole->read(0, all.span());
      medium_.damage(0, all.span());
      for (uint32_t i = first; i < std::min(first + count, blob.segment_count()); ++i)
        medium_.damage(blob.offset(i, 0), nothing);
      const auto repaired = repair_it();
      ASSERT_TRUE(repaired || repaired.error().code == Code::not_found) << repaired.error().message;
      if (!repaired || (repaired->untold.empty() && repaired->missing_entries == 0)) continue;
      ++told;
      open();
      unreadable();
      pool_.reset();
      executor_ = std::make_unique<SimExecutor>(executor_->steps());
      if (HasFailure()) return;
    }
  }
  EXPECT_GT(told, 3);
}

// Noise over the segment that the newest checkpoint's log goes on in, and over all behind it: no
// number is missing then, but the log may have gone on there (may_have_gone_on).
TEST_P(ADamagedPool, WhatTheLogSaidBehindItsEndIsNotTakenForNeverSaid) {
  for (int i = 0; i < 400; ++i) put(i % 3 == 0 ? "disk" : "snap", noise_() % device_blocks);
  ASSERT_TRUE(wait(pool_->flush(pool_->find("snap")->id)));
  crash();
  const Blob& blob = *blobs_[0];
  std::optional<Slot> newest;
  Buffer block(block_size);
  for (CheckpointNumber number = 0; number < slot_ring_length; ++number) {
    const uint64_t offset = blob.slot_offsets(number)[0];
    medium_.read(offset, block.span());
    const auto slot = unpack_slot(block.span(), blob.superblock().secret, blob.id(),
                                  static_cast<uint32_t>(offset / block_size));
    if (slot && (!newest || newest->number < slot->number)) newest = *slot;
  }
  ASSERT_TRUE(newest);
  std::vector<std::byte> noise(blob.segment_bytes());
  for (std::byte& byte : noise) byte = static_cast<std::byte>(noise_());
  int behind = 0;
  for (uint32_t i = 0; i < blob.segment_count(); ++i) {
    medium_.read(blob.offset(i, 0), block.span());
    const auto header = unpack_segment_header(block.span());
    if (!header || header->kind != SegmentClass::log ||
        header->generation < newest->log_segment.generation)
      continue;
    medium_.damage(blob.offset(i, 0), noise);
    ++behind;
  }
  ASSERT_GT(behind, 2);
  const auto repaired = repair_it();
  ASSERT_TRUE(repaired) << repaired.error().message;
  EXPECT_TRUE(repaired->end_in_doubt);
  open();
  EXPECT_GT(unreadable(), 0u);
}

TEST_P(ADamagedPool, WhatIsSuspectIsBelievedWhereAPersonSaysSoAtOnce) {
  close();
  const std::vector<InUse> all = segments();
  for (size_t i = 0; i < all.size(); i += 5) destroy(all[i]);
  destroy_maps();
  const auto repaired = repair_it(true);
  ASSERT_TRUE(repaired) << repaired.error().message;
  open();
  EXPECT_TRUE(pool_->suspect().empty());
}

// A disk of which nothing is left is passed over; what lay on it is EIO, and the rest is whole.
TEST_P(ADamagedPool, ADeadDiskCostsWhatLayOnIt) {
  if (!GetParam()) GTEST_SKIP() << "there is no other disk";
  close();
  open();
  const Blocks there = blocks_of([&](const MappedRange& range) { return range.blob == BlobId{1}; });
  ASSERT_GT(there.size(), 100u);
  close();
  const std::vector<std::byte> nothing(mib);
  for (uint64_t at = 0; at < pool_bytes; at += mib) slow_.damage(at, nothing);
  SlotMember member{BlobId{1}, blobs_[1]->superblock().blob_uuid, *GetParam(),
                    1,         blobs_[1]->segment_count(),        BlobUse::serves,
                    "below"};
  Blobs blobs{blob_on(medium_, *executor_)};
  blobs.push_back(missing_blob(member, *blobs[0], blobs[0]->segment_blocks()));
  Settings settings = settings_;
  settings.log = [](Settings::Severity, const std::string&) {};
  const auto repaired = wait(repair(blobs, settings, false));
  ASSERT_TRUE(repaired) << repaired.error().message;
  auto opened = wait(Pool::open({blob_on(medium_, *executor_)}, settings));
  ASSERT_TRUE(opened) << opened.error().message;
  pool_ = std::move(*opened);
  EXPECT_GE(unreadable(), there.size());
  for (const auto& [name, versions] : devices_)
    for (const auto& [block, version] : versions)
      EXPECT_TRUE(version == 0 || there.contains({name, block}) || readable(name, block))
          << name << " block " << block;
}

INSTANTIATE_TEST_SUITE_P(Kinds, ADamagedPool,
                         testing::Values(std::nullopt, BlobKind::transparent,
                                         BlobKind::compression),
                         [](const auto& one) {
                           return one.param ? name_of(*one.param) : std::string("journal");
                         });

}  // namespace
}  // namespace lamina
