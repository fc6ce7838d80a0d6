// SPDX-License-Identifier: Apache-2.0
// A store that is trivially right, a list of steps applied to an image in memory, and that can be
// told to be wrong in one known way: the oracle is tried on it.
// Thread-safety: none. Durability: a flush makes every step so far durable; a crash keeps a random
// prefix that holds at least those.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "store.h"

namespace lamina::sim {

enum class Bug : uint8_t {
  none,
  loses_durable,         // the prefix ends before what was acknowledged
  skips_a_step,          // not a prefix: one step in the middle is missing
  tears_a_block,         // half of the last written block is old
  goes_back_in_time,     // one block is as it was before its last durable write
  writes_elsewhere,      // a write lands one block further
  swaps_devices,         // a read shows another device's block
  resurrects_erased,     // erases are forgotten by a crash
  shrink_keeps_data,     // growing again shows what was cut off
  renames_in_two_steps,  // a crash between them leaves both names, or none
  forgets_attributes,    // a crash undoes them
  forgets_xattrs,
  forgets_sizes,  // a crash undoes growth
  reads_stale,    // a read sometimes shows the block as it was before
  reuses_ids,
  applies_late,      // a write is in the order after what was issued when it had ended
  forks_one_by_one,  // several devices that are forked at once are so one after the other
  forks_follow,      // a fork sees some of what its source is written later
  forgets_copies,    // a crash undoes them
};
inline constexpr size_t bug_count = 19;

// Everything that a pool shows.
struct MemoryImage {
  struct Device {
    std::string name;
    uint64_t size = 0;
    Attributes attributes;
    bool read_only = false;
    std::map<std::string, std::string> xattrs;
    std::map<uint64_t, std::vector<std::byte>> blocks;
  };
  std::map<uint64_t, Device> devices;
  Attributes root;
};

class MemoryMachine final : public Machine {
 public:
  explicit MemoryMachine(Bug bug) : bug_(bug) {}
  ~MemoryMachine() override;

  void power_on(uint64_t seed) override;
  SimExecutor& executor() override { return *executor_; }
  Task<Result<>> open() override;
  Store& store() override;
  void arm_crash(std::mt19937_64& random) override;
  bool drive(Task<void> task) override;
  void crash(std::mt19937_64& random) override;
  void power_off() override;

 private:
  friend class MemoryStore;
  enum class StepKind : uint8_t { other, erase, attributes, xattr, size, write, copy };
  struct Step {
    StepKind kind;
    std::function<void(MemoryImage&)> apply;
  };
  void step(StepKind kind, std::function<void(MemoryImage&)> apply);

  const Bug bug_;
  std::unique_ptr<SimExecutor> executor_;
  std::unique_ptr<Store> store_;
  MemoryImage base_, now_;
  std::vector<Step> steps_;
  size_t durable_ = 0;
  uint64_t next_id_ = 0;
  std::map<uint64_t, uint64_t> followers_;  // by source
  uint64_t crash_at_ns_ = 0;
};

}  // namespace lamina::sim
