// SPDX-License-Identifier: Apache-2.0
// A real pool on simulated disks: one or two journal blobs, and blobs of other kinds in the tiers
// below, whose every segment is watched for writes out of order.
// Thread-safety: none. Ownership: of the media, which outlive crashes.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "blobs/sim_disk.h"
#include "blobs/sim_image.h"
#include "report.h"
#include "store.h"

namespace lamina::sim {

// What arm_crash() does besides, or instead.
enum class Failing : uint8_t {
  nothing,
  once,   // one write or flush fails, or one now and then: nobody need notice
  disk,   // every write and flush of one disk, in all lives that follow: the others go on
  often,  // many do, or the disk is dead: the pool may turn read-only
  read,   // one read fails
  reads,  // many do
};

struct PoolOptions {
  unsigned disks = 1;           // of the first tier
  std::vector<BlobKind> lower;  // one blob a tier
  size_t most_disks = 6;        // with those that are added
  // Files keep retired segments allocated instead of discarding them, so only block devices are
  // watched for writes out of order.
  bool block_devices = true;
  uint64_t disk_bytes = 64 * mib;
  uint64_t segment_bytes = 256 * kib;
  unsigned kill_percent = 30;  // crashes that kill the process only; the rest cut the power
  uint64_t crash_within = 40;  // disk operations after arm_crash()
  Failing fails = Failing::nothing;
  bool loses_newest_slot = false;  // at every second crash, all copies, if K_old can stand in
  bool keeps_found = false;  // copies of the media as each recovery finds them: take_found()
  Settings settings;
};
// Small memory and frequent checkpoints, so that a short run sees much.
PoolOptions random_pool_options(std::mt19937_64& random);
// Adds tiers below the first, into which data ages soon.
void add_tiers(PoolOptions& options, std::mt19937_64& random);

class PoolMachine final : public Machine {
 public:
  PoolMachine(PoolOptions options, uint64_t seed, Report& report);
  ~PoolMachine() override;

  void power_on(uint64_t seed) override;
  SimExecutor& executor() override { return *executor_; }
  Task<Result<>> open() override;
  Store& store() override;
  void arm_crash(std::mt19937_64& random) override;
  bool drive(Task<void> task) override;
  void crash(std::mt19937_64& random) override;
  void power_off() override;
  uint64_t removed_blobs() const override { return removed_blobs_; }

  Pool& pool() { return *pool_; }
  SimImages& images() { return images_; }
  OpenImage open_image() const { return open_image_; }
  CheckpointNumber committed() const { return pool_->status().checkpoint; }
  // Crash after exactly this many more disk operations.
  void crash_after(uint64_t steps) { executor_->crash_after(steps); }
  const std::vector<std::unique_ptr<SimMedium>>& media() const { return media_; }
  const std::vector<Superblock>& superblocks() const { return superblocks_; }
  const Settings& settings() const { return options_.settings; }
  // Between lives: a disk is taken away, and the pool is opened without it by force, until it is
  // brought back. One at a time.
  void take_away(size_t disk);
  void bring_back();
  bool is_away() const { return away_.medium != nullptr; }
  // Another pool over copies of the media, say, that is only looked at.
  std::unique_ptr<Store> store_of(Pool& pool);
  // The members' media, as the recovery found them that has opened the pool.
  struct FoundDisk {
    std::unique_ptr<SimMedium> medium;
    Superblock superblock;
  };
  std::vector<FoundDisk> take_found() { return std::move(found_); }
  // Where a block of a generation lies now: the disk and the byte offset. Null: nowhere.
  struct Location {
    SimMedium* medium = nullptr;
    uint64_t offset = 0;
  };
  Location locate(Address address) const;

 private:
  SimFaults choose_faults(std::mt19937_64& random) const;
  void format(uint64_t seed);
  void make_images();
  Task<Result<>> open_once(bool fails);
  Task<Result<>> grow();
  Task<Result<>> change_members(uint64_t choice);
  Task<Result<>> add(uint64_t choice);
  Task<Result<>> remove(std::string name);
  void add_medium(const std::string& name);
  // It is no member (any more).
  void put_away(size_t disk);
  void put_away_strangers();
  bool is_member(size_t disk) const;
  void lose_newest_slot();
  // What a disk's superblocks say now; its new segments are watched.
  void adopt(size_t disk, const Superblock& superblock);

  const PoolOptions options_;
  Report& report_;
  SimImages images_;
  const OpenImage open_image_ = images_.opener();
  std::vector<OutsideImage> outside_;
  std::vector<std::unique_ptr<SimMedium>> media_;
  std::vector<Superblock> superblocks_;
  std::vector<uint32_t> watched_;  // segments, by disk
  std::unique_ptr<SimExecutor> executor_;
  std::vector<std::shared_ptr<Disk>> disks_;  // the open pool's
  std::optional<size_t> failed_;              // which of them, for good
  std::vector<FoundDisk> found_;
  std::vector<std::unique_ptr<SimMedium>> put_away_;
  struct Away {
    std::unique_ptr<SimMedium> medium;
    Superblock superblock;
    uint32_t watched = 0;
  } away_;
  unsigned disk_names_ = 0;
  uint64_t removed_blobs_ = 0;
  CheckpointNumber lost_slot_ = 0;  // the newest that was lost
  std::unique_ptr<Pool> pool_;
  std::unique_ptr<Store> store_;
  uint64_t now_ns_ = 0;
};

}  // namespace lamina::sim
