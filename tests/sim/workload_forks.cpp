// SPDX-License-Identifier: Apache-2.0
// The workload's operations by which a device becomes what something else is: forks, rollbacks, and
// external origins.
#include <algorithm>

#include "text.h"
#include "workload.h"

namespace lamina::sim {

// Of one device or of several at once, while others go on being written; not while they are
// renamed, resized or emptied, which would leave it open what they are.
Task<void> Workload::do_fork() {
  size_t living = 0;
  for (const auto& [tag, device] : oracle_.devices()) living += !device->name.empty();
  std::vector<std::pair<DeviceRef, std::string>> pairs;
  std::vector<Pool::Fork> forks;
  std::set<std::string> busy;
  const size_t wanted = chance(30) ? 2 + below(2) : 1;
  for (size_t i = 0; i < wanted && living + i < options_.devices + options_.forks; ++i) {
    const DeviceRef source = choose_device();
    const std::string name = choose_name();
    if (!source || source->name.empty() || name.empty() || oracle_.named(name)) continue;
    if (busy_names_.contains(source->name) || busy.contains(name)) continue;
    const bool changing = std::any_of(leases_.begin(), leases_.end(), [&](const Lease& l) {
      return l.device == source.get() && l.kind == Lease::whole_device;
    });
    if (changing) continue;
    busy.insert(name);
    pairs.emplace_back(source, name);
    forks.push_back({source->id, name});
  }
  if (pairs.empty()) co_return;
  for (const auto& [source, name] : pairs) {
    busy.insert(source->name);
  }
  busy_names_.insert(busy.begin(), busy.end());
  std::list<Held> held;
  for (const auto& [source, name] : pairs)  // nobody begins to write to it until it is done
    held.push_back(hold({source.get(), 0, UINT64_MAX, Lease::shared}));
  const bool read_only = chance(40);
  const Oracle::Forked forked = oracle_.fork(pairs, read_only);
  for (const DeviceRef& device : forked.devices)
    held.push_back(hold({device.get(), 0, 0, Lease::whole_device}));
  auto task = store_.fork(std::move(forks), read_only);
  const Result<std::vector<DeviceInfo>> result = co_await task;
  for (const auto& [source, fork_name] : pairs) source->share();
  const Result<> done = result ? Result<>{} : Result<>(std::unexpect, result.error());
  if (broken(done)) co_return;
  if (result) {
    for (size_t i = 0; i < result->size(); ++i)
      oracle_.bind(*forked.devices[i], (*result)[i].id, report_);
    for (const DeviceRef& device : forked.devices) {
      auto settling = settle_fork(device);
      const bool settled = co_await settling;
      if (!settled) co_return;
    }
  }
  ended(done, forked.operation);
  for (const std::string& name : busy) busy_names_.erase(name);
  for (const Held& one : held) leases_.erase(one);
}

Task<bool> Workload::settle_fork(DeviceRef device) {
  Buffer buffer(block_size);
  for (const uint64_t block : Oracle::unsettled_blocks(*device)) {
    auto task = store_.read(device->id, block * block_size, buffer.span());
    const Result<size_t> got = co_await task;
    if (!answered(got, "a read of a fork", false)) co_return false;
    Oracle::settle_fork(*device, block, buffer.span().first(*got), report_);
  }
  co_return true;
}

Task<void> Workload::do_roll_back() {
  const DeviceRef device = choose_device(), source = choose_device();
  if (!device || !source || device == source || device->name.empty() || source->name.empty())
    co_return;
  if (busy_names_.contains(device->name) || busy_names_.contains(source->name)) co_return;
  const Lease lease{device.get(), 0, 0, Lease::whole_device};
  const Lease other{source.get(), 0, UINT64_MAX, Lease::shared};
  if (device->read_only.current() || !available(lease) || !available(other)) co_return;
  const Held held = hold(lease), source_held = hold(other);
  const std::set<std::string> busy{device->name, source->name};
  busy_names_.insert(busy.begin(), busy.end());
  const bool force = chance(50), refused = device->opens > 0 && !force;
  const bool related = device->family != 0 && device->family == source->family;
  OperationIndex operation{};
  if (!refused) operation = oracle_.roll_back(*device, *source);
  auto task = store_.roll_back(device->id, source->id, force);
  const Result<> result = co_await task;
  if (!refused) {
    device->share();
    source->share();
  }
  if (refused) {
    if (result || (result.error().code != Code::busy && !broken(result)))
      report_.violation("an open device was rolled back");
  } else if (!result && result.error().code == Code::invalid && !related) {
    oracle_.withdraw(operation);
  } else if (!ended(result, operation, false)) {
    co_return;
  }
  for (const std::string& name : busy) busy_names_.erase(name);
  leases_.erase(held);
  leases_.erase(source_held);
}

// Of a device that was never written; most have been, so it is emptied first.
Task<void> Workload::do_origin() {
  const std::vector<OutsideImage> images = store_.images();
  const DeviceRef device = choose_device();
  const Lease lease{device.get(), 0, 0, Lease::whole_device};
  if (images.empty() || !device || device->read_only.current() || !available(lease)) co_return;
  const Held held = hold(lease);
  const OutsideImage& image = images[below(images.size())];
  if (!device->blocks.empty() && chance(60)) {
    const OperationIndex operation = oracle_.truncate_to_empty(*device);
    auto emptying = store_.truncate_to_empty(device->id);
    const Result<> emptied = co_await emptying;
    if (!ended(emptied, operation, false)) co_return;
  }
  device->alone.clear();
  const OperationIndex operation = oracle_.set_origin(*device, image);
  auto task = store_.set_origin(device->id, image.path);
  const Result<> result = co_await task;
  if (!result && result.error().code == Code::exists && !device->blocks.empty())
    oracle_.withdraw(operation);
  else if (!ended(result, operation))
    co_return;
  leases_.erase(held);
}

}  // namespace lamina::sim
