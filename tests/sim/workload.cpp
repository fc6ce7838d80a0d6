// SPDX-License-Identifier: Apache-2.0
// The choice of operations, and those on names and attributes.
#include "workload.h"

#include <algorithm>
#include <deque>

#include "base/check.h"
#include "text.h"

namespace lamina::sim {
namespace {

// How often each action is chosen, by default; but for aging, which is asked for in runs of tiers.
constexpr std::array<unsigned, action_count - 1> usual_weights{
    6,  3,  3, 3,  3, 2, 1, 3, 1,  // names and attributes
    30, 14, 3, 16, 8, 5, 1, 3, 3,  // data
    10, 1,  2, 1,  4,              // durability, and looking
    5,  2,                         // forks
    1,                             // disks
    10, 2,                         // copies
    1,                             // blobs
    2,                             // the mover
    4,                             // external origins
    1};                            // scrubbing

const std::vector<std::string>& names() {
  static const std::vector<std::string> all{
      "a",   "b",   "vm1.img", "disk-\u00e4\u00f6", "e", std::string(255, 'n'), "a@1",
      "b@1", "a@2", "@"};
  return all;
}

}  // namespace

WorkloadOptions random_options(std::mt19937_64& random) {
  WorkloadOptions options;
  options.workers = 1 + static_cast<unsigned>(random() % 4);
  options.operations = 20 + random() % 61;
  options.devices = 1 + random() % 5;
  options.device_blocks = random() % 2 ? 40 : 300;
  options.far_places = random() % 2;
  options.weights.assign(usual_weights.begin(), usual_weights.end());
  for (unsigned& weight : options.weights) {
    if (random() % 5 == 0) weight *= 5;
    if (random() % 8 == 0) weight = 0;
  }
  options.weights.resize(action_count);
  options.weights[static_cast<size_t>(Action::create)] += 1;
  options.weights[static_cast<size_t>(Action::write)] += 4;
  return options;
}

Workload::Workload(Store& store, Oracle& oracle, WorkloadOptions options, std::mt19937_64& random,
                   std::function<void()> arm, Report& report)
    : store_(store),
      oracle_(oracle),
      options_(std::move(options)),
      random_(random),
      arm_(std::move(arm)),
      report_(report) {
  LAMINA_CHECK(options_.weights.size() == action_count);
  for (unsigned weight : options_.weights) weight_sum_ += weight;
}

Task<void> Workload::run() {
  std::deque<Completion> done(options_.workers);
  for (Completion& one : done) spawn(worker(one));
  for (Completion& one : done) co_await one;
}

Task<void> Workload::worker(Completion& done) {
  while (report_.ok() && begun_ < options_.operations + options_.operations_after) {
    if (begun_++ == options_.operations) arm_();
    const Action action = choose_action();
    co_await act(action);
    if (chance(20)) co_await Yield{};
  }
  done.signal();
}

Task<void> Workload::act(Action action) {
  switch (action) {
    case Action::create:
      return do_create();
    case Action::remove:
      return do_remove();
    case Action::rename:
      return do_rename();
    case Action::open:
      return do_open();
    case Action::close:
      return do_close();
    case Action::attributes:
      return do_attributes();
    case Action::read_only:
      return do_read_only();
    case Action::xattr:
      return do_xattr();
    case Action::root:
      return do_root();
    case Action::write:
    case Action::write_part:
    case Action::write_large:
      return do_write(action);
    case Action::read:
      return do_read();
    case Action::erase:
      return do_erase();
    case Action::resize:
      return do_resize();
    case Action::empty:
      return do_empty();
    case Action::reserve:
      return do_reserve();
    case Action::map:
      return do_map();
    case Action::flush:
      return do_flush();
    case Action::sync:
    case Action::checkpoint:
      return do_everything(action);
    case Action::wait:
      return do_wait();
    case Action::fork:
      return do_fork();
    case Action::roll_back:
      return do_roll_back();
    case Action::grow:
      return do_grow();
    case Action::members:
      return do_members();
    case Action::defrag:
      return do_defrag();
    case Action::scrub:
      return do_scrub();
    case Action::age:
      return do_age();
    case Action::copy:
      return do_copy();
    case Action::copy_all:
      return do_copy_all();
    case Action::origin:
      return do_origin();
    case Action::look:
      break;
  }
  do_look();
  return [](Sleep sleep) -> Task<void> { co_await sleep; }(Sleep{100});
}

Action Workload::choose_action() {
  uint64_t at = below(weight_sum_);
  for (size_t i = 0; i < action_count; ++i) {
    if (at < options_.weights[i]) return static_cast<Action>(i);
    at -= options_.weights[i];
  }
  return Action::look;
}

DeviceRef Workload::choose_device() {
  std::vector<DeviceRef> usable;
  for (const auto& [tag, device] : oracle_.devices())
    if (device->id != DeviceId::none && (!device->name.empty() || device->opens > 0))
      usable.push_back(device);
  return usable.empty() ? nullptr : usable[below(usable.size())];
}

std::string Workload::choose_name() {
  const std::string& name = names()[below(names().size())];
  return busy_names_.contains(name) ? std::string{} : name;
}

Attributes Workload::choose_attributes() {
  Attributes attributes;
  attributes.mode = static_cast<uint32_t>(below(01000));
  attributes.uid = static_cast<uint32_t>(below(70000));
  attributes.gid = static_cast<uint32_t>(below(70000));
  attributes.mtime_ns = 1'000'000'000 * below(2'000'000'000);
  return attributes;
}

bool Workload::available(const Lease& lease) const {
  return std::none_of(leases_.begin(), leases_.end(), [&](const Lease& other) {
    if (other.device != lease.device) return false;
    if (other.kind == Lease::whole_device || lease.kind == Lease::whole_device) return true;
    if (other.kind == Lease::shared && lease.kind == Lease::shared) return false;
    return other.begin < lease.end && lease.begin < other.end;
  });
}

template <class T>
bool Workload::answered(const Result<T>& result, const std::string& what, bool may_be_full) {
  if (result) return true;
  if (result.error().code == Code::no_space) {
    ++full_answers_;
    if (options_.may_fill && may_be_full) return false;
  }
  if (options_.may_break &&
      (result.error().code == Code::io || result.error().code == Code::read_only))
    return false;
  report_.violation(text(what, " failed with code ", static_cast<int>(result.error().code), " ",
                         result.error().message));
  return false;
}
bool Workload::broken(const Result<>& result) const {
  return options_.may_break && !result &&
         (result.error().code == Code::read_only || result.error().code == Code::io);
}

bool Workload::ended(const Result<>& result, OperationIndex operation, bool may_be_full) {
  if (broken(result)) return false;
  if (answered(result, oracle_.operations().at(operation).what, may_be_full))
    oracle_.completed(operation);
  else
    oracle_.withdraw(operation);
  return true;
}

template bool Workload::answered(const Result<>&, const std::string&, bool);
template bool Workload::answered(const Result<DeviceInfo>&, const std::string&, bool);
template bool Workload::answered(const Result<std::vector<DeviceInfo>>&, const std::string&, bool);
template bool Workload::answered(const Result<uint64_t>&, const std::string&, bool);
template bool Workload::answered(const Result<std::vector<MappedRange>>&, const std::string&, bool);

Task<void> Workload::do_create() {
  const std::string name = choose_name();
  if (name.empty()) co_return;
  size_t living = 0;
  for (const auto& [tag, device] : oracle_.devices()) living += !device->name.empty();
  busy_names_.insert(name);
  const bool far = options_.far_places && chance(20);
  const uint64_t size = far ? (uint64_t{1} << (30 + below(20))) + below(5) * 1000
                            : below(options_.device_blocks * block_size);
  if (oracle_.named(name)) {
    auto task = store_.create(name, size, Attributes{});
    const Result<DeviceInfo> result = co_await task;
    if (result || (result.error().code != Code::exists && !options_.may_break))
      report_.violation("a second device was made under the name " + name);
  } else if (living < options_.devices) {
    const Attributes attributes = choose_attributes();
    Oracle::Created created = oracle_.create(name, size, Permissions::of(attributes));
    auto task = store_.create(name, size, attributes);
    const Result<DeviceInfo> result = co_await task;
    if (result) oracle_.bind(*created.device, result->id, report_);
    if (!ended(result ? Result<>{} : Result<>(std::unexpect, result.error()), created.operation))
      co_return;
  }
  busy_names_.erase(name);
}

Task<void> Workload::do_remove() {
  const std::string name = choose_name();
  if (name.empty()) co_return;
  const DeviceRef device = oracle_.named(name);
  if (!device) {
    busy_names_.insert(name);
    auto task = store_.remove(name);
    const Result<> result = co_await task;
    if (result || (result.error().code != Code::not_found && !broken(result)))
      report_.violation("a name that nobody has was removed: " + name);
    busy_names_.erase(name);
    co_return;
  }
  // While somebody has it open it goes on being read and written; else it is gone at once.
  const Lease lease{device.get(), 0, 0, Lease::whole_device};
  if (device->opens == 0 && !available(lease)) co_return;
  const Held held = hold(device->opens == 0 ? lease : Lease{device.get(), 0, 0, Lease::shared});
  busy_names_.insert(name);
  const OperationIndex operation = oracle_.remove(name);
  auto task = store_.remove(name);
  const Result<> result = co_await task;
  if (!ended(result, operation, false)) co_return;
  busy_names_.erase(name);
  leases_.erase(held);
}

Task<void> Workload::do_rename() {
  const std::string from = choose_name(), to = choose_name();
  if (from.empty() || to.empty()) co_return;
  const DeviceRef device = oracle_.named(from), replaced = oracle_.named(to);
  if (!device) co_return;
  const bool replace = chance(70);
  std::list<Held> held;
  const auto guard = [&](const DeviceRef& one, bool goes) {
    const Lease lease{one.get(), 0, 0,
                      goes && one->opens == 0 ? Lease::whole_device : Lease::shared};
    if (!available(lease)) return false;
    held.push_back(hold(lease));
    return true;
  };
  const bool free =
      guard(device, false) && (!replaced || replaced == device || guard(replaced, replace));
  if (free) {
    busy_names_.insert(from);
    busy_names_.insert(to);
    const bool refused = replaced && !replace && from != to;
    OperationIndex operation{};
    if (!refused) operation = oracle_.rename(from, to);
    auto task = store_.rename(from, to, replace);
    const Result<> result = co_await task;
    if (from == to && !replace) {
      oracle_.completed(operation);  // either answer will do
    } else if (refused) {
      if (result || (result.error().code != Code::exists && !broken(result)))
        report_.violation("a rename without replace replaced " + to);
    } else if (!ended(result, operation)) {
      co_return;
    }
    busy_names_.erase(from);
    busy_names_.erase(to);
  }
  for (const Held& one : held) leases_.erase(one);
}

Task<void> Workload::do_open() {
  const DeviceRef device = choose_device();
  if (!device || device->read_only.current()) co_return;
  if (!available({device.get(), 0, 0, Lease::shared})) co_return;
  const Result<> result = store_.open_device(device->id);
  if (!result) report_.violation(text("device ", device->tag, " cannot be opened"));
  ++device->opens;
}

Task<void> Workload::do_close() {
  const DeviceRef device = choose_device();
  if (!device || device->opens == 0) co_return;
  const bool goes = device->name.empty() && device->opens == 1;
  const Lease lease{device.get(), 0, 0, goes ? Lease::whole_device : Lease::shared};
  if (!available(lease)) co_return;
  const Held held = hold(lease);
  --device->opens;
  auto task = store_.close_device(device->id);
  const Result<> result = co_await task;
  answered(result, "close of a device", false);
  leases_.erase(held);
}

Task<void> Workload::do_attributes() {
  const DeviceRef device = choose_device();
  const Lease lease{device.get(), 0, 0, Lease::whole_device};
  if (!device || !available(lease)) co_return;
  const Held held = hold(lease);
  const Attributes attributes = choose_attributes();
  const OperationIndex operation = oracle_.set_permissions(*device, Permissions::of(attributes));
  auto task = store_.set_attributes(device->id, attributes);
  const Result<> result = co_await task;
  if (ended(result, operation)) leases_.erase(held);
}

Task<void> Workload::do_read_only() {
  const DeviceRef device = choose_device();
  const Lease lease{device.get(), 0, 0, Lease::whole_device};
  if (!device || device->opens > 0 || !available(lease)) co_return;
  const Held held = hold(lease);
  // Mostly back to writable: little can be done with a read-only device.
  const bool read_only = !device->read_only.current() && chance(50);
  const OperationIndex operation = oracle_.set_read_only(*device, read_only);
  auto task = store_.set_read_only(device->id, read_only);
  const Result<> result = co_await task;
  if (ended(result, operation)) leases_.erase(held);
}

Task<void> Workload::do_xattr() {
  const DeviceRef device = choose_device();
  const Lease lease{device.get(), 0, 0, Lease::whole_device};
  if (!device || !available(lease)) co_return;
  const Held held = hold(lease);
  const std::string name = text("user.key", below(4));
  bool known = true;
  const bool there = device->xattrs.contains(name) && device->xattrs[name].current();
  if (there && chance(30)) {
    const OperationIndex operation = oracle_.set_xattr(*device, name, std::nullopt);
    auto task = store_.remove_xattr(device->id, name);
    const Result<> result = co_await task;
    known = ended(result, operation);
  } else {
    std::string value(chance(15) ? below(20000) : below(100), 'x');
    for (char& c : value) c = static_cast<char>(random_());
    const OperationIndex operation = oracle_.set_xattr(*device, name, value);
    auto task = store_.set_xattr(device->id, name, value);
    const Result<> result = co_await task;
    known = ended(result, operation);
  }
  if (known) leases_.erase(held);
}

Task<void> Workload::do_root() {
  if (root_busy_) co_return;
  root_busy_ = true;
  const Attributes attributes = choose_attributes();
  const OperationIndex operation = oracle_.set_root(Permissions::of(attributes));
  auto task = store_.set_root_attributes(attributes);
  const Result<> result = co_await task;
  root_busy_ = !ended(result, operation);
}

// Names and sizes as they can be seen without waiting.
void Workload::do_look() {
  const std::string name = choose_name();
  if (name.empty()) return;
  const DeviceRef device = oracle_.named(name);
  const Result<DeviceInfo> found = store_.find(name);
  if (!device) {
    if (found) report_.violation("somebody answers to a removed name: " + name);
    return;
  }
  if (!available({device.get(), 0, 0, Lease::whole_device})) return;
  if (!found)
    report_.violation(text("device ", device->tag, " does not answer to its name"));
  else if (found->id != device->id)
    report_.violation(text("another device answers to the name of device ", device->tag));
  else if (found->size_bytes != device->bytes())
    report_.violation(
        text("device ", device->tag, " has ", found->size_bytes, " bytes, not ", device->bytes()));
}

}  // namespace lamina::sim
