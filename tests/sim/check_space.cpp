// SPDX-License-Identifier: Apache-2.0
#include "check_space.h"

#include <map>
#include <set>

#include "text.h"

namespace lamina::sim {
namespace {

constexpr size_t ranges_at_once = 4096;
constexpr int attempts = 8;  // to read all maps between two checkpoints

// Of all blocks that somebody refers to.
struct Count {
  std::map<Address, std::set<DeviceId>> referrers;
  std::map<DeviceId, uint64_t> mapped;

  uint64_t exclusive(DeviceId device) const {
    uint64_t blocks = 0;
    for (const auto& [address, devices] : referrers)
      blocks += devices.size() == 1 && *devices.begin() == device;
    return blocks;
  }
};

Task<Result<>> count_device(Store& store, DeviceId device, Count& count) {
  count.mapped[device] = 0;
  for (DeviceBlock at{0};;) {
    auto task = store.map(device, at, ranges_at_once);
    const Result<std::vector<MappedRange>> ranges = co_await task;
    if (!ranges) co_return Result<>(std::unexpect, ranges.error());
    for (const MappedRange& range : *ranges) {
      if (range.state != RangeState::data || is_origin(range.address)) continue;
      const uint64_t length = range.range.length().value;
      count.mapped[device] += length;
      for (uint64_t i = 0; i < length; ++i)
        count.referrers[range.address + BlockCount{i}].insert(device);
    }
    if (ranges->size() < ranges_at_once) co_return Result<>{};
    at = ranges->back().range.end;
  }
}

// `exact`: no checkpoint came since the count began. One that publishes what has moved counts all
// that may lie twice since, and until the next one a map and what is laid over it may name a block
// that they share by two addresses: there is more alone then, but none less.
void compare(Store& store, const Count& count, bool exact, Report& report) {
  const uint64_t data = store.status().data_bytes / block_size, found = count.referrers.size();
  if (data < found || (exact && data > found))
    report.violation(text("after a walk ", data, " blocks are said to be in use, the maps have ",
                          found, " (D2)"));
  for (const auto& [device, mapped] : count.mapped) {
    const Result<DeviceInfo> info = store.info(device);
    const uint64_t exclusive = count.exclusive(device);
    if (info && info->share) {
      const uint64_t alone = info->share->exclusive_bytes / block_size;
      const uint64_t all = alone + info->share->shared_bytes / block_size;
      if (all == mapped && (alone == exclusive || (!exact && alone < exclusive))) continue;
    }
    if (!info || !info->share)
      report.violation(text("after a walk nobody knows what device ", raw(device), " shares"));
    else
      report.violation(text("device ", raw(device), " ", info->name, " is said to have ",
                            info->share->exclusive_bytes / block_size, " blocks alone and ",
                            info->share->shared_bytes / block_size, " with others; of ", mapped,
                            " it has ", exclusive, " alone"));
    return;
  }
}

}  // namespace

Task<void> check_space(Store& store, std::vector<DeviceId> nameless, bool may_fail,
                       Report& report) {
  for (int attempt = 0; attempt < attempts; ++attempt) {
    const CheckpointNumber asked = store.status().checkpoint;
    auto counting = store.count_shares();
    const Result<> counted = co_await counting;
    if (!counted) {
      if (!may_fail) report.violation("nothing was counted: " + counted.error().message);
      co_return;
    }
    const CheckpointNumber before = store.status().checkpoint;
    std::vector<DeviceId> devices = nameless;
    const std::vector<DeviceInfo> named = store.list();
    for (const DeviceInfo& info : named) devices.push_back(info.id);
    // Whether one that failed to be closed is still there is not known.
    if (may_fail && store.status().devices != devices.size()) co_return;
    Count count;
    for (const DeviceId device : devices) {
      auto task = count_device(store, device, count);
      const Result<> result = co_await task;
      if (result) continue;
      if (!may_fail) report.violation("a map cannot be read: " + result.error().message);
      co_return;
    }
    // What was read before and after a checkpoint may name one block by two addresses.
    if (store.status().checkpoint != before) continue;
    const bool exact = before == asked;
    compare(store, count, exact, report);
    if (exact || !report.ok()) co_return;
  }
}

}  // namespace lamina::sim
