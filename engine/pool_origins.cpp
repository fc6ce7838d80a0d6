// SPDX-License-Identifier: Apache-2.0
// External origins (C7): an alias over a whole image outside the pool, logged and homed like a
// copy's, after which the device is like any other. What must be durable before what: nothing. The
// entry that makes the origin known and the alias are one step, and the image is not ours to flush.
#include <algorithm>

#include "engine/pool_state.h"

namespace lamina {
namespace {

constexpr size_t extents_at_once = 1024;

std::unexpected<Error> not_empty() {
  return fail(Code::exists,
              "the device has been written to; only an empty one gets an external origin: make a "
              "new one");
}

// What a device was when its ranges were to be listed.
struct Listed {
  DeviceId id = DeviceId::none;
  std::string name;
  std::shared_ptr<ThinMap> map;
  BlockRange range;
};

}  // namespace

Task<void> PoolState::open_origins() {
  std::vector<Origin> recorded;
  {
    Lock order(log.order());
    for (const auto& [generation, origin] : devices.origins()) recorded.push_back(origin);
  }
  for (Origin& origin : recorded) co_await origins.reopen(std::move(origin));
}

// The same image, as it is: several devices over it are over one origin.
Generation PoolState::known_origin(const Origin& wanted) {
  for (const auto& [generation, origin] : devices.origins()) {
    const bool same = origin.path == wanted.path && origin.size_bytes == wanted.size_bytes &&
                      origin.image == wanted.image;
    const OpenOriginPtr open = same ? origins.find(generation) : nullptr;
    if (open && open->check()) return generation;
  }
  return Generation::none;
}

Task<Result<>> PoolState::set_origin(DeviceId id, std::string path) {
  auto found = writable_device(id);
  if (!found) co_return forward_error(found);
  const DevicePtr device = found->device;
  {
    Lock order(log.order());
    if (!device->map->untouched()) co_return not_empty();
  }
  auto opened = co_await origins.open(path);
  if (!opened) co_return forward_error(opened);
  Origin origin;
  origin.path = std::move(path);
  origin.image = opened->facts;
  origin.size_bytes = opened->facts.size_bytes;
  const BlockRange all{DeviceBlock{0}, device_end};
  co_await device->locks.acquire(all);
  HeldRange held(device->locks, all);
  { Lock order(log.order()); }  // whoever found a range free before has applied its step
  Build build = [&]() -> Result<std::vector<StepEntry>> {
    if (devices.find(id) != device) return fail(Code::not_found);
    if (!device->map->untouched()) return not_empty();
    std::vector<StepEntry> list;
    const Generation known = known_origin(origin);
    if (known == Generation::none) {
      origin.generation = devices.next_origin();
      list.push_back({origin_entry(origin), {}});
      origins.put(std::make_shared<OpenOrigin>(origin, std::move(*opened)));
    } else {
      origin.generation = known;
    }
    if (origin.size_bytes > device->size_bytes) {
      Entry grow;
      grow.kind = EntryKind::resize;
      grow.device = id;
      grow.size_bytes = origin.size_bytes;
      list.push_back({std::move(grow), {}});
    }
    Entry alias;
    alias.kind = EntryKind::alias;
    alias.map = alias.source_map = device->map->id();
    alias.length = BlockCount{div_up(origin.size_bytes, block_size)};
    alias.address = {origin.generation, 0};
    list.push_back({std::move(alias), {}});
    return list;
  };
  LAMINA_CO_TRY(co_await step(Claim::user, 0, std::move(build)));
  start_watching_origins();
  co_return Result<>{};
}

Task<Result<>> PoolState::accept_origins(DeviceId id, std::string path) {
  LAMINA_CO_TRY(writable());
  std::vector<OpenOriginPtr> wrong;
  {
    Lock order(log.order());
    const DevicePtr device = devices.find(id);
    if (!device) co_return fail(Code::not_found);
    for (const Generation generation : device->origins)
      if (const OpenOriginPtr origin = origins.find(generation); origin && !origin->check())
        wrong.push_back(origin);
  }
  if (wrong.empty())
    co_return fail(Code::invalid, "no external origin of the device has changed or is gone");
  if (wrong.size() > 1 && !path.empty())
    co_return fail(Code::invalid,
                   "several external origins of the device have changed or are gone: which one is "
                   "at " +
                       path + " now, nobody knows");
  for (const OpenOriginPtr& one : wrong) {
    Origin origin = one->origin();
    if (!path.empty()) origin.path = path;
    auto opened = co_await origins.open(origin.path);
    if (!opened) co_return forward_error(opened);
    if (opened->facts.size_bytes < origin.size_bytes)
      co_return fail(Code::invalid, origin.path + ": is shorter than devices see it, " +
                                        std::to_string(opened->facts.size_bytes) +
                                        " bytes instead of " + std::to_string(origin.size_bytes) +
                                        "; bring back what is missing, `truncate -s` makes zeroes "
                                        "of it");
    origin.image = opened->facts;
    Build build = [&]() -> Result<std::vector<StepEntry>> {
      std::vector<StepEntry> list;
      if (!devices.origins().contains(origin.generation)) return list;
      list.push_back({origin_entry(origin), {}});
      origins.put(std::make_shared<OpenOrigin>(origin, std::move(*opened)));
      return list;
    };
    LAMINA_CO_TRY(co_await step(Claim::log, 0, std::move(build)));
  }
  start_watching_origins();
  co_return Result<>{};
}

// Whoever opens an image to write to it waits until somebody has looked.
Task<void> PoolState::watch_origins() {
  constexpr uint64_t look_every_ns = 500'000'000;
  for (;;) {
    co_await sleep_unless_closing(look_every_ns);
    const bool leased = origins.look();
    Lock lock(background_mutex_);
    if (leased && !closing_) continue;
    watching_origins_started_ = false;
    co_return;
  }
}

Task<Result<>> Pool::set_origin(DeviceId id, std::string path) {
  PoolState& s = *state_;
  auto done = co_await s.set_origin(id, std::move(path));
  s.origins.set_refused(done);
  if (!done) co_return done;
  if (s.changed) s.changed(id);
  co_return co_await flush(id);
}

Task<Result<>> Pool::accept_origin(DeviceId id, std::string path) {
  PoolState& s = *state_;
  auto done = co_await s.accept_origins(id, std::move(path));
  s.origins.set_refused(done);
  if (!done) co_return done;
  Sequence through = 0;
  std::vector<DeviceId> readers;
  {
    Lock order(s.log.order());
    through = s.log.last();
    s.devices.for_each([&](const DevicePtr& device) {
      if (!device->origins.empty()) readers.push_back(device->id);
    });
  }
  for (const DeviceId reader : readers)
    if (s.changed) s.changed(reader);
  co_return co_await s.log.flush(through);
}

void Pool::note_origin_refused(const Result<>& result) {
  state_->origins.set_refused(result);
}

Task<Result<std::vector<LostRange>>> Pool::lost_now() {
  PoolState& s = *state_;
  std::vector<LostRange> lost = this->lost();
  std::set<Generation> bad;
  const std::vector<OpenOriginPtr> origins = s.origins.all();
  for (const OpenOriginPtr& origin : origins)
    if (!origin->check()) bad.insert(origin->origin().generation);
  if (bad.empty()) co_return lost;
  std::vector<Listed> devices;
  {
    Lock order(s.log.order());
    s.devices.for_each([&](const DevicePtr& device) {
      if (std::ranges::none_of(device->origins, [&](Generation g) { return bad.contains(g); }))
        return;
      const DeviceBlock end{div_up(device->size_bytes, block_size)};
      devices.push_back({device->id, device->name, device->map, {DeviceBlock{0}, end}});
    });
  }
  for (const Listed& device : devices) {
    for (DeviceBlock at = device.range.begin; at < device.range.end;) {
      auto resolved =
          co_await device.map->resolve(s.nodes, {at, device.range.end}, extents_at_once);
      if (!resolved) co_return forward_error(resolved);
      for (const Extent& extent : resolved->extents) {
        const bool in_bad = extent.kind == ExtentKind::data && is_origin(extent.address) &&
                            bad.contains(extent.address.generation);
        if (in_bad && lost.size() < PoolState::lost_limit)
          lost.push_back({device.id, device.name, extent.range()});
      }
      if (resolved->extents.size() < extents_at_once) break;
      at = resolved->extents.back().end;
    }
  }
  co_return lost;
}

}  // namespace lamina
