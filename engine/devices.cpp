// SPDX-License-Identifier: Apache-2.0
#include "engine/devices.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "blobs/fork_list.h"
#include "engine/mutation.h"
#include "engine/space/pins.h"

namespace lamina {
namespace {

std::unexpected<Error> cannot_follow(const char* what) {
  return fail(Code::corrupt, std::string("an entry of the log cannot follow: ") + what);
}

uint64_t blocks_of(uint64_t bytes) {
  return div_up(bytes, block_size);
}

}  // namespace

DevicePtr Devices::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

DevicePtr Devices::find(DeviceId id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

ThinMap* Devices::find_map(MapId id) const {
  const auto found = by_map_.find(raw(id));
  return found == by_map_.end() ? nullptr : found->second->map.get();
}

const std::map<std::string, std::string, std::less<>>* Devices::xattrs_of(DeviceId id) const {
  if (id == root_device) return &root_xattrs;
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &found->second->xattrs;
}

// Whatever happens to a device, its counter and the sum change together.
void Devices::set_reserved(Device& device, uint64_t blocks) {
  reserved_blocks += blocks;
  reserved_blocks -= std::exchange(device.reserved_blocks, blocks);
}

void Devices::note_erased(Device& device, BlockCount length) {
  const uint64_t blocks = std::min(length.value, device.map->size().merged_blocks);
  device.erased_blocks += blocks;
  erased_blocks += blocks;
}

void Devices::restore(DevicePtr device) {
  reserved_blocks += device->reserved_blocks;
  if (!device->name.empty()) by_name_[device->name] = device;
  by_map_[raw(device->map->id())] = device;
  by_id_[device->id] = std::move(device);
}

void Devices::restore_marks(DeviceId next_device, MapId next_map) {
  next_device_ = std::max(next_device_, raw(next_device));
  next_map_ = std::max(next_map_, raw(next_map));
}

Result<> Devices::apply(const Entry& entry, Generation generation, uint64_t wall_ns,
                        std::span<const std::byte> payload) {
  switch (entry.kind) {
    case EntryKind::write:
    case EntryKind::zero:
    case EntryKind::lost:
    case EntryKind::alias:
    case EntryKind::reserve:
      return apply_range(entry, generation, wall_ns);
    case EntryKind::create:
      return create(entry, wall_ns);
    case EntryKind::unlink:
    case EntryKind::rename:
      return apply_name(entry);
    case EntryKind::drop: {
      const DevicePtr device = find(entry.device);
      if (!device || !device->name.empty()) return cannot_follow("drop of a device with a name");
      forget_map(*device);
      set_reserved(*device, 0);
      by_id_.erase(entry.device);
      return {};
    }
    case EntryKind::resize: {
      const DevicePtr device = find(entry.device);
      if (!device) return cannot_follow("resize of a device that is not there");
      device->size_bytes = entry.size_bytes;
      device->attributes.mtime_ns = device->attributes.ctime_ns = wall_ns;
      device->last_change = entry.sequence;
      return {};
    }
    case EntryKind::new_map:
      return new_map(entry, wall_ns);
    case EntryKind::attribute:
      return attribute(entry, payload);
    case EntryKind::metadata: {
      auto value = unpack_attributes(entry.value);
      if (!value) return forward_error(value);
      if (entry.device == root_device) {
        root = value->attributes;
        return {};
      }
      const DevicePtr device = find(entry.device);
      if (!device) return cannot_follow("attributes of a device that is not there");
      device->attributes = value->attributes;
      device->read_only = value->read_only;
      device->last_change = entry.sequence;
      return {};
    }
    case EntryKind::nothing:
      return {};
    case EntryKind::fork:
      return is_fork_list(entry) ? fork_several(entry, wall_ns, payload) : fork(entry, wall_ns);
    case EntryKind::origin:
      return note_origin(entry);
    case EntryKind::node:
      break;
  }
  return cannot_follow("its kind is not one that a log of this version holds");
}

std::vector<LostRange> Devices::suspect() const {
  std::vector<LostRange> all;
  for_each([&](const DevicePtr& device) {
    for (const BlockRange& range : device->map->suspect())
      all.push_back({device->id, device->name, range});
  });
  return all;
}

// What was shared neither side has alone any more (A9).
void Devices::note_copy(Device& target, const Entry& entry) {
  if (mutated(Mutation::forget_last_copy)) return;
  target.last_copy = target.last_share = entry.sequence;
  if (const auto source = by_map_.find(raw(entry.source_map)); source != by_map_.end())
    source->second->last_copy = source->second->last_share = entry.sequence;
}

Result<> Devices::apply_range(const Entry& entry, Generation generation, uint64_t wall_ns) {
  const auto found = by_map_.find(raw(entry.map));
  if (found == by_map_.end()) return cannot_follow("a range of a map that is not there");
  if (is_origin(entry.address) && !origins_.contains(entry.address.generation))
    return cannot_follow("a range of an external origin that is not known");
  Device& device = *found->second;
  Extent extent;
  extent.begin = entry.begin;
  extent.end = entry.begin + entry.length;
  switch (entry.kind) {
    case EntryKind::write:
      extent.kind = ExtentKind::data;
      extent.address = {generation, entry.offset};
      break;
    case EntryKind::alias:
      extent.kind = ExtentKind::data;
      extent.alias = true;
      extent.address = entry.address;
      extent.home = generation;
      if (is_origin(entry.address))
        device.origins.insert(entry.address.generation);
      else
        note_copy(device, entry);
      break;
    case EntryKind::lost:
      extent.kind = ExtentKind::lost;
      extent.home = generation;
      break;
    default:
      extent.kind = ExtentKind::zero;
      extent.home = generation;
      extent.reserved = entry.kind == EntryKind::reserve;
      break;
  }
  // A reservation that was used up is a counter without a range.
  if (extent.begin < extent.end) device.map->insert(extent);
  if (entry.kind == EntryKind::reserve) set_reserved(device, entry.size_bytes);
  if (entry.kind == EntryKind::zero) note_erased(device, entry.length);
  device.attributes.mtime_ns = device.attributes.ctime_ns = wall_ns;
  device.last_change = entry.sequence;
  return {};
}

Result<> Devices::create(const Entry& entry, uint64_t wall_ns) {
  if (find(entry.device) || find(entry.name) || find_map(entry.map))
    return cannot_follow("create of something that is there");
  auto value = unpack_attributes(entry.value);
  if (!value) return forward_error(value);
  auto device = std::make_shared<Device>(entry.device);
  device->name = entry.name;
  device->size_bytes = entry.size_bytes;
  device->attributes = value->attributes;
  device->read_only = value->read_only;
  device->created_ns = wall_ns;
  device->last_change = entry.sequence;
  device->map = std::make_shared<ThinMap>(entry.map, entry.device, image_, NodeId::none, 0, 0);
  restore_marks(DeviceId{raw(entry.device) + 1}, MapId{raw(entry.map) + 1});
  restore(std::move(device));
  return {};
}

void Devices::forget_map(const Device& device) {
  by_map_.erase(raw(device.map->id()));
  if (device.last_copy > 0) copied_.emplace_back(device.map->id(), device.last_copy);
  dropped_blocks += device.map->size().merged_blocks;
  shares_stale_ = true;
}

// The source keeps its map id; both sides share everything up to here, so every node that they
// have was born before.
std::shared_ptr<ThinMap> Devices::fork_map(Device& source, MapId map, DeviceId device,
                                           Sequence at) {
  if (!mutated(Mutation::forget_last_fork)) source.last_fork = source.last_share = at;
  source.last_change = at;
  lineage.push_back({map, source.map->id(), at, device});
  return source.map->fork(map, device, at);
}

Result<> Devices::fork(const Entry& entry, uint64_t wall_ns) {
  const DevicePtr source = find(entry.source_device);
  if (!source || source->map->id() != entry.source_map)
    return cannot_follow("a fork of something that is not there");
  if (find(entry.device) || find(entry.name) || find_map(entry.map))
    return cannot_follow("a fork into something that is there");
  auto device = std::make_shared<Device>(entry.device);
  device->name = entry.name;
  device->size_bytes = source->size_bytes;
  device->attributes = source->attributes;
  device->attributes.ctime_ns = wall_ns;
  for (const auto& [name, value] : source->xattrs)
    if (name.starts_with("user.") && (name != tier_attribute || !entry.read_only))
      device->xattrs[name] = value;
  device->read_only = entry.read_only;
  device->created_ns = wall_ns;
  device->origin = source->id;
  device->last_change = device->last_fork = device->last_share = entry.sequence;
  device->last_copy = source->last_copy;
  device->origins = source->origins;
  device->map = fork_map(*source, entry.map, entry.device, entry.sequence);
  restore_marks(DeviceId{raw(entry.device) + 1}, MapId{raw(entry.map) + 1});
  restore(std::move(device));
  return {};
}

Result<> Devices::fork_several(const Entry& entry, uint64_t wall_ns,
                               std::span<const std::byte> payload) {
  auto forks = unpack_fork_list(entry, payload);
  if (!forks) return forward_error(forks);
  for (const Entry& one : *forks) LAMINA_TRY(fork(one, wall_ns));
  return {};
}

void Device::found_alone(Sequence cut) {
  alone_at = std::max(alone_at, cut);
  if (last_share <= cut || mutated(Mutation::alone_for_ever)) last_share = 0;
}

// What a map has given a copy of its relatives may have as well; while it was there they had
// diverged from it, now the copy alone tells that somebody else has it.
void Devices::inherit_copies() {
  if (copied_.empty()) return;
  std::unordered_map<MapId, MapId> parents;
  for (const LineageRow& row : lineage) parents[row.map] = row.parent;
  std::unordered_map<MapId, MapId> roots;
  const auto root_of = [&](MapId map) {
    std::vector<MapId> way;
    while (!roots.contains(map) && parents.contains(map)) {
      way.push_back(map);
      map = parents[map];
    }
    const MapId first = roots.contains(map) ? roots[map] : map;
    for (const MapId one : way) roots[one] = first;
    return first;
  };
  std::unordered_map<MapId, Sequence> newest;
  for (const auto& [map, copy] : std::exchange(copied_, {})) {
    Sequence& of_family = newest[root_of(map)];
    of_family = std::max(of_family, copy);
  }
  for (const auto& [id, device] : by_id_)
    if (const auto found = newest.find(root_of(device->map->id())); found != newest.end())
      device->last_copy = std::max(device->last_copy, found->second);
}

void Devices::refresh_shares() {
  if (!shares_stale_) return;
  shares_stale_ = false;
  inherit_copies();
  std::vector<MapId> living;
  for (const auto& [id, device] : by_id_) living.push_back(device->map->id());
  const auto newest = newest_divergences(lineage, living);
  for (const auto& [id, device] : by_id_) {
    const auto found = newest.find(device->map->id());
    device->last_fork = found == newest.end() ? 0 : found->second;
    device->last_share = std::max(device->last_fork, device->last_copy);
    if (device->last_share <= device->alone_at) device->last_share = 0;
  }
}

Result<> Devices::apply_name(const Entry& entry) {
  const DevicePtr device = find(entry.device);
  if (!device || device->name != entry.name || entry.name.empty())
    return cannot_follow("a name that is not the device's");
  device->last_change = entry.sequence;
  if (entry.kind == EntryKind::unlink) {
    by_name_.erase(device->name);
    device->name.clear();
    return {};
  }
  if (const DevicePtr replaced = find(entry.name2); replaced && replaced != device) {
    replaced->name.clear();
    replaced->last_change = entry.sequence;
    by_name_.erase(entry.name2);
  }
  by_name_.erase(device->name);
  device->name = entry.name2;
  by_name_[device->name] = device;
  return {};
}

Result<> Devices::new_map(const Entry& entry, uint64_t wall_ns) {
  const DevicePtr device = find(entry.device);
  if (!device || find_map(entry.map)) return cannot_follow("a new map");
  std::shared_ptr<ThinMap> map;
  if (entry.source_map == MapId::none) {
    map = std::make_shared<ThinMap>(entry.map, device->id, image_, NodeId::none, 0, 0);
    forget_map(*device);
    device->last_fork = device->last_share = device->last_copy = 0;
    device->origins.clear();
  } else {
    const auto source = by_map_.find(raw(entry.source_map));
    if (source == by_map_.end() || source->second == device)
      return cannot_follow("a map forked from one that is not there");
    map = fork_map(*source->second, entry.map, device->id, entry.sequence);
    forget_map(*device);
    device->last_fork = device->last_share = entry.sequence;
    device->last_copy = source->second->last_copy;
    device->origins = source->second->origins;
  }
  device->map = std::move(map);
  device->alone_at = 0;
  device->size_bytes = entry.size_bytes;
  set_reserved(*device, 0);
  device->attributes.mtime_ns = device->attributes.ctime_ns = wall_ns;
  device->last_change = entry.sequence;
  by_map_[raw(entry.map)] = device;
  restore_marks(DeviceId::none, MapId{raw(entry.map) + 1});
  return {};
}

Result<> Devices::note_origin(const Entry& entry) {
  auto origin = unpack_origin(entry);
  if (!origin) return forward_error(origin);
  next_origin_ = std::max(next_origin_, raw(origin->generation) + 1);
  origins_[origin->generation] = std::move(*origin);
  return {};
}

void Devices::restore_origins(std::map<Generation, Origin> recorded, Generation next) {
  origins_ = std::move(recorded);
  next_origin_ = raw(next);
}

std::set<Generation> Devices::forget_origins() {
  std::set<Generation> wanted;
  if (origins_.empty()) return wanted;
  for (const auto& [id, device] : by_id_)
    wanted.insert(device->origins.begin(), device->origins.end());
  std::erase_if(origins_, [&](const auto& one) { return !wanted.contains(one.first); });
  return wanted;
}

Result<> Devices::attribute(const Entry& entry, std::span<const std::byte> payload) {
  auto* xattrs = &root_xattrs;
  if (entry.device != root_device) {
    const DevicePtr device = find(entry.device);
    if (!device) return cannot_follow("an attribute of a device that is not there");
    device->last_change = entry.sequence;
    xattrs = &device->xattrs;
  }
  if (entry.removed) {
    if (const auto found = xattrs->find(entry.name); found != xattrs->end()) xattrs->erase(found);
    return {};
  }
  if (entry.length.value == 0) {
    (*xattrs)[entry.name] = entry.value;
    return {};
  }
  if (entry.size_bytes > payload.size() || blocks_of(entry.size_bytes) != entry.length.value)
    return cannot_follow("an attribute longer than its payload");
  (*xattrs)[entry.name] =
      std::string(reinterpret_cast<const char*>(payload.data()), entry.size_bytes);
  return {};
}

}  // namespace lamina
