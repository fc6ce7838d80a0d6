// SPDX-License-Identifier: Apache-2.0
// Where ranges live, and what comes next: map and seek.
#include <algorithm>

#include "engine/pool_state.h"
#include "engine/reverse_map.h"

namespace lamina {
namespace {

constexpr size_t seek_extents = 256;  // looked up at a time

struct Looked {
  std::shared_ptr<ThinMap> map;
  uint64_t size = 0;
  bool reserves = false;  // else the flags are inherited ones, which say nothing (D8)
};

Result<Looked> look(PoolState& s, DeviceId id) {
  Lock order(s.log.order());
  const DevicePtr device = s.devices.find(id);
  if (!device) return fail(Code::not_found);
  return Looked{device->map, device->size_bytes, device->reserved_blocks > 0};
}

RangeState state_of(const Extent& extent, bool reserves) {
  if (extent.kind == ExtentKind::data) return RangeState::data;
  if (extent.kind == ExtentKind::lost) return RangeState::lost;
  return extent.reserved && reserves ? RangeState::reserved : RangeState::zero;
}

}  // namespace

Task<Result<std::vector<MappedRange>>> Pool::map(DeviceId id, DeviceBlock begin, size_t limit) {
  PoolState& s = *state_;
  auto looked = look(s, id);
  if (!looked) co_return forward_error(looked);
  const BlockRange range{begin, DeviceBlock{div_up(looked->size, block_size)}};
  std::vector<MappedRange> out;
  if (range.empty()) co_return out;
  auto resolved = co_await looked->map->resolve(s.nodes, range, limit);
  if (!resolved) co_return forward_error(resolved);
  DeviceBlock at = begin;
  for (const Extent& extent : resolved->extents) {
    if (out.size() >= limit) co_return out;
    if (at < extent.begin) out.push_back({{at, extent.begin}, RangeState::hole, BlobId::none, {}});
    MappedRange mapped{extent.range(), state_of(extent, looked->reserves), BlobId::none, {}};
    if (extent.kind == ExtentKind::data) {
      mapped.address = extent.address;
      if (const auto origin = s.origins.find(extent.address.generation))
        mapped.origin = origin->origin().path;
      if (const auto segment = s.space.segment(extent.address.generation)) {
        mapped.blob = segment->name.blob;
        mapped.stored_blocks = segment->room_of(extent.length().value);
      }
    }
    out.push_back(mapped);
    at = extent.end;
  }
  if (at < range.end && resolved->extents.size() < limit)
    out.push_back({{at, range.end}, RangeState::hole, BlobId::none, {}});
  co_return out;
}

Task<Result<MediumPlace>> Pool::reverse(std::string blob, uint64_t offset) {
  return reverse_map(*state_, std::move(blob), offset);
}

Task<Result<uint64_t>> Pool::seek(DeviceId id, uint64_t offset, bool data) {
  PoolState& s = *state_;
  auto looked = look(s, id);
  if (!looked) co_return forward_error(looked);
  if (offset >= looked->size) co_return fail(Code::not_found);
  const DeviceBlock end{div_up(looked->size, block_size)};
  DeviceBlock at{offset / block_size};
  while (at < end) {
    auto resolved = co_await looked->map->resolve(s.nodes, {at, end}, seek_extents);
    if (!resolved) co_return forward_error(resolved);
    for (const Extent& extent : resolved->extents) {
      const bool is_data = extent.kind != ExtentKind::zero;
      if (!data && at < extent.begin) co_return std::max(offset, at.byte_offset());
      if (is_data == data) co_return std::max(offset, extent.begin.byte_offset());
      at = extent.end;
    }
    if (resolved->extents.size() < seek_extents) {
      if (data) co_return fail(Code::not_found);
      if (at < end) co_return std::max(offset, at.byte_offset());
    }
  }
  if (data) co_return fail(Code::not_found);
  co_return looked->size;
}

}  // namespace lamina
