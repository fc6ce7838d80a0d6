// SPDX-License-Identifier: Apache-2.0
#include "engine/lost_data.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "engine/maps/leaf_changes.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

constexpr size_t extents_at_once = 1024;
constexpr uint64_t blocks_at_once = 256;  // under one lock

class GivingUp {
 public:
  GivingUp(PoolState& pool, DevicePtr device, const std::function<bool(Generation)>& segments)
      : pool_(pool), device_(std::move(device)), segments_(segments) {}

  Task<Result<>> run() {
    const DeviceBlock end{max_device_bytes / block_size};
    for (DeviceBlock at{0}; at < end;) {
      const BlockRange rest{at, end};
      const std::shared_ptr<ThinMap> map = pool_.map_of(*device_);
      auto found = co_await map->resolve(pool_.nodes, rest, extents_at_once);
      if (!found) co_return forward_error(found);
      for (const Extent& extent : found->extents) {
        at = extent.end;
        if (!concerned(extent)) continue;
        for (DeviceBlock begin = extent.begin; begin < extent.end;) {
          const DeviceBlock until = std::min(extent.end, begin + BlockCount{blocks_at_once});
          LAMINA_CO_TRY(co_await renew({begin, until}));
          begin = until;
        }
      }
      if (found->extents.size() < extents_at_once) break;
    }
    co_return Result<>{};
  }

 private:
  bool concerned(const Extent& extent) const {
    const bool there = extent.stored() && segments_(extent.address.generation);
    return there || (has_home(extent) && segments_(extent.home));
  }

  // What users have written there meanwhile is not concerned any more.
  Task<Result<>> renew(BlockRange range) {
    co_await device_->locks.acquire(range);
    const HeldRange held(device_->locks, range);
    const std::shared_ptr<ThinMap> map = pool_.map_of(*device_);
    auto found = co_await map->resolve(pool_.nodes, range, SIZE_MAX);
    if (!found) co_return forward_error(found);
    std::vector<BlockRange> lost;
    for (const Extent& extent : found->extents) {
      if (!concerned(extent)) continue;
      if (extent.reserved)
        LAMINA_CO_TRY(co_await state(EntryKind::reserve, extent.range()));
      else
        LAMINA_CO_TRY(co_await write_again(map, extent.range(), lost));
    }
    for (const BlockRange& one : lost) LAMINA_CO_TRY(co_await state(EntryKind::lost, one));
    co_return Result<>{};
  }

  Task<Result<>> write_again(std::shared_ptr<ThinMap> map, BlockRange range,
                             std::vector<BlockRange>& lost) {
    Buffer block(block_size);
    for (DeviceBlock at = range.begin; at < range.end; at = at + BlockCount{1}) {
      const BlockRange one{at, at + BlockCount{1}};
      auto read = co_await pool_.read_blocks(*map, one, block.span());
      if (read) {
        PoolState::Write write;
        write.device = device_;
        write.begin = at;
        write.data = block.span();
        write.holds_range = true;
        LAMINA_CO_TRY(co_await pool_.write_blocks(std::move(write)));
        continue;
      }
      if (read.error().code != Code::io) co_return read;
      if (!lost.empty() && lost.back().end == at)
        lost.back().end = one.end;
      else
        lost.push_back(one);
    }
    co_return Result<>{};
  }

  // Without payload.
  Task<Result<>> state(EntryKind kind, BlockRange range) {
    return pool_.step(Claim::log, 0, [this, kind, range] {
      Entry entry;
      entry.kind = kind;
      entry.map = device_->map->id();
      entry.begin = range.begin;
      entry.length = range.length();
      if (kind == EntryKind::reserve) {
        entry.device = device_->id;
        entry.size_bytes = device_->reserved_blocks;
      }
      std::vector<PoolState::StepEntry> entries;
      entries.push_back({std::move(entry), {}});
      return Result<std::vector<PoolState::StepEntry>>(std::move(entries));
    });
  }

  PoolState& pool_;
  const DevicePtr device_;
  const std::function<bool(Generation)>& segments_;
};

}  // namespace

Task<Result<>> give_up_unreadable(PoolState& pool, std::function<bool(Generation)> segments) {
  std::vector<DevicePtr> devices;
  {
    Lock order(pool.log.order());
    pool.devices.for_each([&](const DevicePtr& device) { devices.push_back(device); });
  }
  for (const DevicePtr& device : devices) {
    if (!pool.open_device(device->id, false)) continue;  // it has been removed meanwhile
    GivingUp giving(pool, device, segments);
    const auto given_up = co_await giving.run();
    LAMINA_CO_TRY(co_await pool.close_device(device->id, false));
    if (!given_up) co_return given_up;
  }
  Sequence through = 0;
  {
    Lock order(pool.log.order());
    through = pool.log.last();
  }
  co_return co_await pool.log.flush(through);
}

}  // namespace lamina
