// SPDX-License-Identifier: Apache-2.0
// Devices made from others: snapshots, clones, and the way back.
#include <algorithm>
#include <set>

#include "blobs/fork_list.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

// Of an entry without its name: its tag, number and length, and four ids of less than 2^42.
constexpr size_t packed_fork_bound = 4 + 4 * 6;

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

// Blocks of payload that the step takes, at most.
uint32_t payload_blocks(const std::vector<Pool::Fork>& forks) {
  if (forks.size() == 1) return 0;
  size_t bytes = 0;
  for (const Pool::Fork& fork : forks) bytes += packed_fork_bound + fork.name.size();
  return static_cast<uint32_t>(2 * div_up(bytes, block_size));
}

std::vector<Entry> entries_of(const Devices& devices, const std::vector<Pool::Fork>& forks,
                              bool read_only) {
  std::vector<Entry> entries;
  for (size_t i = 0; i < forks.size(); ++i) {
    const DevicePtr source = devices.find(forks[i].source);
    Entry& entry = entries.emplace_back();
    entry.kind = EntryKind::fork;
    entry.device = DeviceId{raw(devices.next_device()) + i};
    entry.map = MapId{raw(devices.next_map()) + i};
    entry.source_device = source->id;
    entry.source_map = source->map->id();
    entry.read_only = read_only;
    entry.name = forks[i].name;
  }
  return entries;
}

// One entry says it all, so all of it happens or nothing does.
StepEntry step_of(const std::vector<Entry>& entries) {
  if (entries.size() == 1) return {entries[0], {}};
  ForkList packed = pack_fork_list(entries);
  Entry list;
  list.kind = EntryKind::fork;
  list.length = {packed.payload.size() / block_size};
  list.size_bytes = packed.size_bytes;
  return {std::move(list), std::move(packed.payload)};
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
  const uint32_t blocks = payload_blocks(forks);
  if (blocks > s.log.largest_step_blocks())
    co_return fail(Code::too_big, "so many names do not fit one step of the log");
  auto stepped = co_await s.step(Claim::user, blocks, [&]() -> Steps {
    LAMINA_TRY(check(s.devices, forks));
    layers = layers_of(s.devices, forks);
    const std::vector<Entry> entries = entries_of(s.devices, forks, read_only);
    for (const Entry& entry : entries) made.emplace_back().id = entry.device;
    return Steps{{step_of(entries)}};
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
