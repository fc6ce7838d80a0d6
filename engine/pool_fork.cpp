// SPDX-License-Identifier: Apache-2.0
// Devices made from others: snapshots, clones, and the way back.
#include <algorithm>
#include <set>

#include "engine/pool_state.h"

namespace lamina {
namespace {

using StepEntry = PoolState::StepEntry;
using Steps = Result<std::vector<StepEntry>>;

// Where a map's line begins: relatives have one root.
MapId root_of(const Lineage& lineage, MapId map) {
  return sights(lineage, map).back().map;
}

// A device that was emptied has a map without ancestors, but its snapshots are still its own.
bool related(const Devices& devices, const Device& a, const Device& b) {
  if (a.origin == b.id || b.origin == a.id) return true;
  if (a.origin != DeviceId::none && a.origin == b.origin) return true;
  return root_of(devices.lineage, a.map->id()) == root_of(devices.lineage, b.map->id());
}

Result<> check(const Devices& devices, const std::vector<Pool::Fork>& forks) {
  std::set<std::string_view> names;
  for (const Pool::Fork& fork : forks) {
    LAMINA_TRY(check_device_name(fork.name));
    const DevicePtr source = devices.find(fork.source);
    if (!source || source->name.empty())
      return fail(Code::not_found, "what has no name (any more) cannot be forked");
    if (devices.find(fork.name) || !names.insert(fork.name).second)
      return fail(Code::exists, "a device of that name exists");
  }
  if (devices.count() + forks.size() > max_devices)
    return fail(Code::no_space, "the pool has 65536 devices");
  return {};
}

// The most that a look-up of a source goes through.
size_t layers_of(const Devices& devices, const std::vector<Pool::Fork>& forks) {
  size_t most = 0;
  for (const Pool::Fork& fork : forks)
    if (const DevicePtr source = devices.find(fork.source))
      most = std::max(most, source->map->layers());
  return most;
}

void count_fork(Counters& counters, uint64_t took_ns) {
  ++counters.forks;
  counters.last_fork_ns = took_ns;
  uint64_t longest = counters.longest_fork_ns;
  while (took_ns > longest && !counters.longest_fork_ns.compare_exchange_weak(longest, took_ns)) {
  }
}

}  // namespace

Task<Result<std::vector<DeviceInfo>>> Pool::fork(std::vector<Fork> forks, bool read_only) {
  PoolState& s = *state_;
  const uint64_t began_ns = s.settings.background->now_ns();
  std::vector<DeviceInfo> made;
  size_t layers = 0;
  {
    Lock order(s.log.order());
    LAMINA_CO_TRY(check(s.devices, forks));
    layers = layers_of(s.devices, forks);
  }
  if (layers >= ThinMap::most_layers) LAMINA_CO_TRY(co_await s.checkpointer.run());
  auto stepped = co_await s.step(Claim::user, 0, [&]() -> Steps {
    LAMINA_TRY(check(s.devices, forks));
    layers = layers_of(s.devices, forks);
    std::vector<StepEntry> list;
    size_t packed = 0;
    for (size_t i = 0; i < forks.size(); ++i) {
      const DevicePtr source = s.devices.find(forks[i].source);
      Entry entry;
      entry.kind = EntryKind::fork;
      entry.device = DeviceId{raw(s.devices.next_device()) + i};
      entry.map = MapId{raw(s.devices.next_map()) + i};
      entry.source_device = source->id;
      entry.source_map = source->map->id();
      entry.together = static_cast<uint32_t>(forks.size() - i);
      entry.read_only = read_only;
      entry.name = forks[i].name;
      packed += PoolState::packed_bound(entry);
      list.push_back({std::move(entry), {}});
    }
    if (packed > record_body_limit)
      return fail(Code::too_big, "so many names do not fit one step of the log");
    for (const StepEntry& e : list) made.emplace_back().id = e.entry.device;
    return list;
  });
  if (!stepped) co_return forward_error(stepped);
  count_fork(s.counters, s.settings.background->now_ns() - began_ns);
  if (layers >= ThinMap::many_layers) s.start_checkpoint();
  for (DeviceInfo& device : made) {
    auto known = info(device.id);
    if (!known) co_return forward_error(known);  // removed by somebody else already
    device = std::move(*known);
  }
  co_return made;
}

Task<Result<>> Pool::roll_back(DeviceId id, DeviceId source_id, bool force) {
  PoolState& s = *state_;
  DevicePtr device;
  {
    Lock order(s.log.order());
    device = s.devices.find(id);
    if (!device || device->name.empty()) co_return fail(Code::not_found);
    if (device->open > 0 && !force) co_return fail(Code::busy, "the device is open");
  }
  const BlockRange everything{DeviceBlock{0}, device_end};
  co_await device->locks.acquire(everything);
  HeldRange held(device->locks, everything);
  { Lock order(s.log.order()); }
  auto done = co_await s.step(Claim::log, 0, [&]() -> Steps {
    const DevicePtr source = s.devices.find(source_id);
    if (!source || source->name.empty() || device->name.empty()) return fail(Code::not_found);
    if (source == device || !related(s.devices, *device, *source))
      return fail(Code::invalid, "the two are not related");
    if (device->read_only) return fail(Code::read_only, "the device is read-only");
    if (device->open > 0 && !force) return fail(Code::busy, "the device is open");
    s.reserved_blocks -= device->reserved_blocks;
    std::vector<StepEntry> list;
    Entry entry;
    entry.kind = EntryKind::new_map;
    entry.device = id;
    entry.map = s.devices.next_map();
    entry.source_map = source->map->id();
    entry.size_bytes = source->size_bytes;
    list.push_back({std::move(entry), {}});
    return list;
  });
  if (done && s.changed) s.changed(id);
  co_return done;
}

}  // namespace lamina
