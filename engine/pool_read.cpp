// SPDX-License-Identifier: Apache-2.0
// Reads: look up and pin, then one submission of data and checksums, then verify.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "engine/pool_state.h"
#include "engine/read_plan.h"

namespace lamina {

Task<Result<>> PoolState::read_blocks(ThinMap& map, BlockRange range, std::span<std::byte> into) {
  for (;;) {
    const uint64_t rewritten = log.tail().rewritten();
    ThinMap::Resolved resolved;
    if (!map.try_resolve(nodes, range, resolved)) {
      auto found = co_await map.resolve(nodes, range, SIZE_MAX);
      if (!found) co_return forward_error(found);
      resolved = std::move(*found);
    }
    ReadPlan plan(map.id());
    auto planned = plan_read(resolved, range, into, plan);
    // Where an entry was that has been written again meanwhile, nothing counts any more (A19).
    if (log.tail().rewritten() != rewritten) continue;
    if (!planned || plan.empty()) co_return planned;
    auto result = co_await plan.run(*this);
    if (result || plan.image_failed()) co_return result;
    // Once more, past every cache: what was wrong on the way may be right on the medium.
    result = co_await plan.run_again(*this);
    if (result) co_return result;
    result = co_await plan.run_by_records(*this);
    if (!result) report_unreadable(map.id(), plan.bad());
    co_return result;
  }
}

// Fills in what needs no disk; the rest goes into the plan.
Result<> PoolState::plan_read(const ThinMap::Resolved& resolved, BlockRange range,
                              std::span<std::byte> into, ReadPlan& plan) {
  DeviceBlock at = range.begin;
  for (const Extent& extent : resolved.extents) {
    if (at < extent.begin)
      std::memset(into.data() + (at - range.begin).bytes(), 0, (extent.begin - at).bytes());
    const auto part = into.subspan((extent.begin - range.begin).bytes(), extent.length().bytes());
    at = extent.end;
    if (extent.kind == ExtentKind::lost)
      return fail(Code::io, "the range is lost or suspect (see .lamina/lost)");
    if (extent.kind == ExtentKind::zero)
      std::memset(part.data(), 0, part.size());
    else if (!log.tail().copy(extent.address, part))
      LAMINA_TRY(plan.add(*this, extent.begin, extent.address, part));
  }
  if (at < range.end)
    std::memset(into.data() + (at - range.begin).bytes(), 0, (range.end - at).bytes());
  return {};
}

void PoolState::report_unreadable(MapId map, BlockRange range) {
  bool known = false;
  std::string device_name;
  {
    Lock order(log.order());
    const ThinMap* const of = devices.find_map(map);
    const DevicePtr device = of ? devices.find(of->device()) : nullptr;
    if (!device) return;  // it has been emptied, rolled back or removed meanwhile
    device_name = device->name;
    LostRange* before = nullptr;
    for (LostRange& l : devices.lost) {
      if (l.device != device->id) continue;
      known = known || (l.range.begin <= range.begin && range.end <= l.range.end);
      if (l.range.end == range.begin) before = &l;
    }
    if (!known && before)
      before->range.end = range.end;
    else if (!known && devices.lost.size() < lost_limit)
      devices.lost.push_back({device->id, device_name, range});
  }
  if (!known)
    settings.log(Settings::Severity::error, "'" + device_name + "' cannot be read at byte " +
                                                std::to_string(range.begin.byte_offset()) + ", " +
                                                std::to_string(range.length().bytes()) + " bytes");
}

Task<Result<size_t>> Pool::read(DeviceId id, uint64_t offset, std::span<std::byte> into) {
  PoolState& s = *state_;
  std::shared_ptr<ThinMap> map;
  uint64_t size = 0;
  {
    Lock order(s.log.order());
    const DevicePtr device = s.devices.find(id);
    if (!device) co_return fail(Code::not_found);
    map = device->map;
    size = device->size_bytes;
  }
  if (offset >= size || into.empty()) co_return size_t{0};
  const size_t length = std::min<uint64_t>(into.size(), size - offset);
  s.counters.read_user += length;
  const BlockRange range{DeviceBlock{offset / block_size},
                         DeviceBlock{div_up(offset + length, block_size)}};
  const bool aligned = offset % block_size == 0 && into.size() >= range.length().bytes() &&
                       reinterpret_cast<uintptr_t>(into.data()) % block_size == 0;
  if (aligned) {
    auto done = co_await s.read_blocks(*map, range, into.first(range.length().bytes()));
    if (!done) co_return forward_error(done);
    co_return length;
  }
  Buffer whole(range.length().bytes());
  auto done = co_await s.read_blocks(*map, range, whole.span());
  if (!done) co_return forward_error(done);
  std::memcpy(into.data(), whole.data() + offset % block_size, length);
  co_return length;
}

}  // namespace lamina
