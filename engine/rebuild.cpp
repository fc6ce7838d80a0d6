// SPDX-License-Identifier: Apache-2.0
#include "engine/rebuild.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "base/buffer.h"
#include "blobs/fork_list.h"
#include "engine/rebuild_read.h"

namespace lamina {

Task<Result<Rebuilt>> Rebuilt::from(std::vector<Blob*> blobs, OpenImage open_image) {
  auto scan_task = scan_segments(std::move(blobs));
  Result<Scan> scan = co_await scan_task;
  if (!scan) co_return forward_error(scan);
  auto building = from(std::move(*scan), true, std::move(open_image));
  co_return co_await building;
}

Task<Result<Rebuilt>> Rebuilt::from(Scan scan, bool build_maps, OpenImage open_image) {
  Rebuilt rebuilt;
  rebuilt.open_image_ = std::move(open_image);
  rebuilt.scan_ = std::move(scan);
  if (!rebuilt.scan_.has_tables)
    co_return fail(Code::not_found, "no checkpoint's tables are on the medium");
  auto replay_task = rebuilt.replay_devices();
  LAMINA_CO_TRY(co_await replay_task);
  if (build_maps) rebuilt.build_maps();
  co_return rebuilt;
}

RebuiltDevice* Rebuilt::find(DeviceId id) {
  const auto found = devices_.find(id);
  return found == devices_.end() ? nullptr : &found->second;
}

// The devices of the newest tables, and what the log says of them since.
Task<Result<>> Rebuilt::replay_devices() {
  for (const DeviceRow& row : scan_.tables.devices) devices_[row.id].row = row;
  lineage_ = scan_.tables.lineage;
  root_ = scan_.tables.root;
  origins_ = scan_.tables.origins;
  std::sort(scan_.entries.begin(), scan_.entries.end(),
            [](const ScannedEntry& a, const ScannedEntry& b) {
              return a.entry.sequence < b.entry.sequence;
            });
  Sequence last = scan_.tables.cut;
  for (const ScannedEntry& scanned : scan_.entries) {
    if (scanned.entry.sequence <= last) continue;  // in the tables, or the copy of another
    last = scanned.entry.sequence;
    auto task = replay(scanned);
    LAMINA_CO_TRY(co_await task);
  }
  co_return Result<>{};
}

Task<Result<>> Rebuilt::replay(const ScannedEntry& scanned) {
  const Entry& entry = scanned.entry;
  RebuiltDevice* device = find(entry.device);
  switch (entry.kind) {
    case EntryKind::create: {
      DeviceRow& row = devices_[entry.device].row;
      row.id = entry.device;
      row.map = entry.map;
      row.name = entry.name;
      row.size_bytes = entry.size_bytes;
      const auto value = unpack_attributes(entry.value);
      if (value) row.attributes = value->attributes;
      if (value) row.read_only = value->read_only;
      break;
    }
    case EntryKind::unlink:
    case EntryKind::rename:
      replay_name(entry);
      break;
    case EntryKind::drop:
      devices_.erase(entry.device);
      break;
    case EntryKind::resize:
      if (device) device->row.size_bytes = entry.size_bytes;
      break;
    case EntryKind::new_map:
      if (!device) break;
      device->row.map = entry.map;
      device->row.size_bytes = entry.size_bytes;
      if (entry.source_map != MapId::none)
        lineage_.push_back({entry.map, entry.source_map, entry.sequence, entry.device});
      break;
    case EntryKind::metadata: {
      const auto value = unpack_attributes(entry.value);
      if (value && device) device->row.attributes = value->attributes;
      if (value && device) device->row.read_only = value->read_only;
      if (value && entry.device == root_device) root_ = value->attributes;
      break;
    }
    case EntryKind::attribute: {
      auto task = replay_attribute(scanned);
      co_return co_await task;
    }
    case EntryKind::fork: {
      if (!is_fork_list(entry)) {
        replay_fork(entry);
        break;
      }
      auto task = replay_fork_list(scanned);
      co_return co_await task;
    }
    case EntryKind::origin:
      if (auto origin = unpack_origin(entry)) origins_[origin->generation] = std::move(*origin);
      break;
    case EntryKind::write:
    case EntryKind::zero:
    case EntryKind::alias:
    case EntryKind::lost:
    case EntryKind::reserve:
    case EntryKind::node:
    case EntryKind::nothing:
      break;
  }
  co_return Result<>{};
}

void Rebuilt::replay_name(const Entry& entry) {
  RebuiltDevice* device = find(entry.device);
  if (entry.kind == EntryKind::rename)
    for (auto& [id, other] : devices_)
      if (other.row.name == entry.name2) other.row.name.clear();
  if (device) device->row.name = entry.kind == EntryKind::rename ? entry.name2 : "";
}

void Rebuilt::replay_fork(const Entry& entry) {
  const RebuiltDevice* source = find(entry.source_device);
  if (!source) return;
  DeviceRow row = source->row;
  row.id = entry.device;
  row.map = entry.map;
  row.name = entry.name;
  row.origin = entry.source_device;
  row.read_only = entry.read_only;
  row.reserved_blocks = 0;
  std::erase_if(row.xattrs, [](const auto& item) { return !item.first.starts_with("user."); });
  devices_[row.id].row = std::move(row);
  lineage_.push_back({entry.map, entry.source_map, entry.sequence, entry.device});
}

// Of each block the copy that can be read.
Task<Result<>> Rebuilt::replay_fork_list(const ScannedEntry& scanned) {
  const Entry& entry = scanned.entry;
  const Generation generation = scan_.generation_of(scanned);
  const uint32_t blocks = fork_list_blocks(entry);
  const Address begin{generation, entry.offset};
  Buffer list(uint64_t{blocks} * block_size);
  for (uint32_t i = 0; i < blocks; ++i) {
    auto first = read_payload(scan_, begin + BlockCount{i}, list.blocks(i, 1));
    const Result<> good = co_await first;
    if (good) continue;
    auto second = read_payload(scan_, begin + BlockCount{blocks + i}, list.blocks(i, 1));
    LAMINA_CO_TRY(co_await second);
  }
  auto forks = unpack_fork_list(entry, list.span());
  if (!forks) co_return forward_error(forks);
  for (const Entry& fork : *forks) replay_fork(fork);
  co_return Result<>{};
}

Task<Result<>> Rebuilt::replay_attribute(const ScannedEntry& scanned) {
  const Entry& entry = scanned.entry;
  RebuiltDevice* device = find(entry.device);
  if (!device) co_return Result<>{};
  if (entry.removed) {
    device->row.xattrs.erase(entry.name);
    co_return Result<>{};
  }
  std::string value = entry.value;
  const Generation generation = scan_.generation_of(scanned);
  Buffer block(block_size);
  for (uint64_t i = 0; i < entry.length.value; ++i) {
    auto task = read_payload(scan_, Address{generation, entry.offset} + BlockCount{i}, block.span());
    LAMINA_CO_TRY(co_await task);
    value.append(reinterpret_cast<const char*>(block.data()), block_size);
  }
  if (entry.length.value > 0 && entry.size_bytes <= value.size()) value.resize(entry.size_bytes);
  device->row.xattrs[entry.name] = std::move(value);
  co_return Result<>{};
}

void Rebuilt::build_maps() {
  std::unordered_map<uint64_t, std::vector<const ScannedEntry*>> by_map;
  for (const ScannedEntry& scanned : scan_.entries) {
    const EntryKind kind = scanned.entry.kind;
    if (scanned.entry.length.value == 0) continue;  // a counter alone (D8)
    if (kind == EntryKind::write || kind == EntryKind::zero || kind == EntryKind::alias ||
        kind == EntryKind::lost || kind == EntryKind::reserve)
      by_map[raw(scanned.entry.map)].push_back(&scanned);
  }
  for (auto& [id, device] : devices_) {
    std::vector<const ScannedEntry*> visible;
    for (const Sight& sight : sights(lineage_, device.row.map))
      for (const ScannedEntry* scanned : by_map[raw(sight.map)])
        if (scanned->entry.sequence <= sight.limit) visible.push_back(scanned);
    std::stable_sort(
        visible.begin(), visible.end(),
        [&](const ScannedEntry* a, const ScannedEntry* b) { return before(scan_, *a, *b); });
    for (const ScannedEntry* scanned : visible)
      paint(device, scanned->entry, scan_.generation_of(*scanned));
  }
}

// Lays the entry over what is there.
void Rebuilt::paint(RebuiltDevice& device, const Entry& entry, Generation generation) {
  auto& extents = device.extents;
  const DeviceBlock begin = entry.begin, end = entry.begin + entry.length;
  auto at = extents.lower_bound(begin);
  if (at != extents.begin()) {
    const auto left = std::prev(at);
    if (left->second.end > begin) {
      if (left->second.end > end) {
        RebuiltExtent rest = left->second;
        if (rest.kind == ExtentKind::data) rest.address = rest.address + (end - left->first);
        extents[end] = rest;
      }
      left->second.end = begin;
      at = extents.lower_bound(begin);
    }
  }
  while (at != extents.end() && at->first < end) {
    if (at->second.end > end) {
      RebuiltExtent rest = at->second;
      if (rest.kind == ExtentKind::data) rest.address = rest.address + (end - at->first);
      extents[end] = rest;
    }
    at = extents.erase(at);
  }
  RebuiltExtent extent;
  extent.end = end;
  extent.sequence = entry.sequence;
  if (entry.kind == EntryKind::write) {
    extent.kind = ExtentKind::data;
    extent.address = {generation, entry.offset};
  } else if (entry.kind == EntryKind::alias) {
    extent.kind = ExtentKind::data;
    extent.address = entry.address;
  } else if (entry.kind == EntryKind::lost) {
    extent.kind = ExtentKind::lost;
  }
  extents[begin] = extent;
}

Task<Result<>> Rebuilt::read(const RebuiltDevice& device, DeviceBlock block,
                             std::span<std::byte> into) {
  std::memset(into.data(), 0, into.size());
  auto at = device.extents.upper_bound(block);
  if (at == device.extents.begin()) co_return Result<>{};
  --at;
  if (at->second.end <= block || at->second.kind == ExtentKind::zero) co_return Result<>{};
  if (at->second.kind == ExtentKind::lost) co_return fail(Code::io, "the block is lost");
  const Address address = at->second.address + (block - at->first);
  auto task = read_block(address, into);
  Result<> result = co_await task;
  if (result) co_return result;
  // The mover's copy may be what a crash cut short: any copy of the same entry will do.
  const Sequence sequence = at->second.sequence;
  auto copy = std::lower_bound(
      scan_.entries.begin(), scan_.entries.end(), sequence,
      [](const ScannedEntry& scanned, Sequence wanted) { return scanned.entry.sequence < wanted; });
  for (; copy != scan_.entries.end() && copy->entry.sequence == sequence; ++copy) {
    const Entry& entry = copy->entry;
    const bool data = entry.kind == EntryKind::write || entry.kind == EntryKind::alias;
    if (!data || block < entry.begin || entry.begin + entry.length <= block) continue;
    Address there = entry.address;
    if (entry.kind == EntryKind::write)
      there = {scan_.generation_of(*copy), entry.offset};
    auto again = read_block(there + (block - entry.begin), into);
    const Result<> good = co_await again;
    if (good) co_return good;
  }
  co_return result;
}

Task<Result<>> Rebuilt::read_origin(Address address, std::span<std::byte> into) {
  const auto found = origins_.find(address.generation);
  if (found == origins_.end()) co_return fail(Code::io, "its external origin is not known");
  if (!open_image_) co_return fail(Code::io, "it lies in " + found->second.path);
  auto image = open_image_(found->second.path);
  if (!image) co_return forward_error(image);
  IoBatch batch;
  batch.read(**image, uint64_t{address.block} * block_size, into);
  co_await batch;
  co_return batch.result();
}

Task<Result<>> Rebuilt::read_block(Address address, std::span<std::byte> into) {
  auto task = is_origin(address) ? read_origin(address, into) : read_payload(scan_, address, into);
  co_return co_await task;
}

}  // namespace lamina
