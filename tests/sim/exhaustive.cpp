// SPDX-License-Identifier: Apache-2.0
// Every short sequence of operations, crashed everywhere: most bugs of crash consistency need no
// more than three.
#include <algorithm>
#include <array>
#include <memory>

#include "compare_rebuilt.h"
#include "inspection.h"
#include "node_versions.h"
#include "pool_machine.h"
#include "runs.h"
#include "text.h"

namespace lamina::sim {
namespace {

// What a sequence is made of. The pool begins with "a" of eight blocks, all written, and "b" of
// two, all durable.
enum class Step : uint8_t {
  write,    // blocks 1..2 of a
  overlap,  // blocks 2..4 of a, unaligned
  erase,    // blocks 2..3 of a
  shrink,   // a to two and a half blocks
  grow,     // a to ten blocks
  replace,  // rename b over a, or what is left of them
  remove,   // a
  flush,    // whichever device is first
  checkpoint,
  fork,        // a to s, and b to t in the same step
  write_fork,  // blocks 1..2 of s
  roll_back,   // a to s
  copy,        // blocks 1..2 of a to 4..5 of b
};
constexpr uint64_t step_kinds = 13;
constexpr unsigned survivals = 2;  // choices of what survives at each crash point

std::vector<Step> sequence(uint64_t number) {
  std::vector<Step> steps;
  uint64_t length = 1, of_length = step_kinds;
  while (number >= of_length) {
    number -= of_length;
    of_length *= step_kinds;
    ++length;
  }
  for (uint64_t i = 0; i < length; ++i) {
    steps.push_back(static_cast<Step>(number % step_kinds));
    number /= step_kinds;
  }
  return steps;
}

class Script {
 public:
  Script(PoolMachine& machine, Oracle& oracle, Report& report)
      : machine_(machine), oracle_(oracle), report_(report) {}

  Task<void> prepare();
  Task<void> run(std::vector<Step> steps);

 private:
  Task<void> step(Step step);
  Task<void> create(std::string name, uint64_t blocks);
  Task<void> write(DeviceRef device, uint64_t offset, uint64_t length);
  Task<void> fork();
  Task<void> roll_back(DeviceRef device);
  Task<void> copy(DeviceRef source, DeviceRef target);
  void ended(const Result<>& result, OperationIndex operation) {
    if (result)
      oracle_.completed(operation);
    else
      report_.violation(
          text("'", oracle_.operations().at(operation).what, "' failed: ", result.error().message));
  }
  DeviceRef first() const {
    const DeviceRef a = oracle_.named("a");
    return a ? a : oracle_.named("b");
  }

  PoolMachine& machine_;
  Oracle& oracle_;
  Report& report_;
};

Task<void> Script::create(std::string name, uint64_t blocks) {
  const Oracle::Created created = oracle_.create(name, blocks * block_size, {0600, 0, 0});
  auto task = machine_.store().create(name, blocks * block_size, Attributes{});
  const Result<DeviceInfo> result = co_await task;
  if (!result) {
    report_.violation("create failed: " + result.error().message);
    co_return;
  }
  oracle_.completed(created.operation);
  oracle_.bind(*created.device, result->id, report_);
  auto fill = write(created.device, 0, blocks * block_size);
  co_await fill;
}

Task<void> Script::write(DeviceRef device, uint64_t offset, uint64_t length) {
  const uint64_t version = oracle_.next_version();
  const std::vector<bool> zero(div_up(offset + length, block_size) - offset / block_size);
  Buffer buffer(length);
  const std::span<std::byte> data = buffer.span().first(length);
  Oracle::pattern(*device, offset, version, zero, data);
  const OperationIndex operation = oracle_.write(*device, offset, version, zero, data);
  auto task = machine_.store().write(device->id, offset, data);
  const Result<> result = co_await task;
  ended(result, operation);
}

Task<void> Script::fork() {
  std::vector<std::pair<DeviceRef, std::string>> pairs;
  std::vector<Pool::Fork> forks;
  for (const auto& [from, to] : {std::pair{"a", "s"}, std::pair{"b", "t"}}) {
    const DeviceRef source = oracle_.named(from);
    if (!source || oracle_.named(to)) continue;
    pairs.emplace_back(source, to);
    forks.push_back({source->id, to});
  }
  if (pairs.empty()) co_return;
  const Oracle::Forked forked = oracle_.fork(pairs, false);
  auto task = machine_.store().fork(std::move(forks), false);
  const Result<std::vector<DeviceInfo>> result = co_await task;
  for (size_t i = 0; result && i < result->size(); ++i)
    oracle_.bind(*forked.devices[i], (*result)[i].id, report_);
  ended(result ? Result<>{} : Result<>(std::unexpect, result.error()), forked.operation);
}

// What has taken the name of a is no relative of s.
Task<void> Script::roll_back(DeviceRef device) {
  const DeviceRef source = oracle_.named("s");
  if (!source) co_return;
  const OperationIndex operation = oracle_.roll_back(*device, *source);
  auto task = machine_.store().roll_back(device->id, source->id, false);
  const Result<> result = co_await task;
  const bool related = device->family != 0 && device->family == source->family;
  if (!result && result.error().code == Code::invalid && !related)
    oracle_.withdraw(operation);
  else
    ended(result, operation);
}

Task<void> Script::copy(DeviceRef source, DeviceRef target) {
  const uint64_t from = block_size, to = 4 * block_size;
  const uint64_t length = std::min<uint64_t>(2 * block_size, source->bytes() - from);
  const OperationIndex operation = oracle_.copy(*source, from, *target, to, length);
  auto task = machine_.store().copy(source->id, from, target->id, to, length);
  const Result<uint64_t> done = co_await task;
  if (done && *done != length) report_.violation(text("a copy of ", length, " did ", *done));
  ended(done ? Result<>{} : Result<>(std::unexpect, done.error()), operation);
}

Task<void> Script::prepare() {
  auto a = create("a", 8);
  co_await a;
  auto b = create("b", 2);
  co_await b;
  const std::vector<OperationIndex> covered = oracle_.covered(nullptr);
  auto task = machine_.store().sync();
  const Result<> result = co_await task;
  if (result)
    oracle_.durable(covered);
  else
    report_.violation("sync failed: " + result.error().message);
}

Task<void> Script::run(std::vector<Step> steps) {
  for (const Step one : steps) {
    auto task = step(one);
    co_await task;
    if (!report_.ok()) co_return;
  }
}

Task<void> Script::step(Step step) {
  Store& store = machine_.store();
  const DeviceRef device = first();
  if (!device) co_return;
  OperationIndex operation{};
  switch (step) {
    case Step::write: {
      auto task = write(device, block_size, 2 * block_size);
      co_await task;
      co_return;
    }
    case Step::overlap: {
      auto task = write(device, 2 * block_size + 1000, 2 * block_size);
      co_await task;
      co_return;
    }
    case Step::erase: {
      operation = oracle_.erase(*device, 2 * block_size, 2 * block_size);
      auto task = store.erase(device->id, 2 * block_size, 2 * block_size);
      const Result<> result = co_await task;
      ended(result, operation);
      co_return;
    }
    case Step::shrink:
    case Step::grow: {
      const uint64_t size = step == Step::shrink ? 5 * block_size / 2 : 10 * block_size;
      operation = oracle_.resize(*device, size);
      auto task = store.resize(device->id, size);
      const Result<> result = co_await task;
      ended(result, operation);
      co_return;
    }
    case Step::replace: {
      if (!oracle_.named("b")) co_return;
      operation = oracle_.rename("b", "a");
      auto task = store.rename("b", "a", true);
      const Result<> result = co_await task;
      ended(result, operation);
      co_return;
    }
    case Step::remove: {
      const std::string name = device->name;
      operation = oracle_.remove(name);
      auto task = store.remove(name);
      const Result<> result = co_await task;
      ended(result, operation);
      co_return;
    }
    case Step::flush: {
      const std::vector<OperationIndex> covered = oracle_.covered(device.get());
      auto task = store.flush(device->id);
      const Result<> result = co_await task;
      if (result)
        oracle_.durable(covered);
      else
        report_.violation("flush failed: " + result.error().message);
      co_return;
    }
    case Step::fork: {
      auto task = fork();
      co_await task;
      co_return;
    }
    case Step::write_fork: {
      const DeviceRef forked = oracle_.named("s");
      if (!forked) co_return;
      auto task = write(forked, block_size, 2 * block_size);
      co_await task;
      co_return;
    }
    case Step::roll_back: {
      auto task = roll_back(device);
      co_await task;
      co_return;
    }
    case Step::copy: {
      const DeviceRef other = oracle_.named("b");
      auto task = copy(device, other ? other : device);
      co_await task;
      co_return;
    }
    case Step::checkpoint: {
      auto task = store.checkpoint();
      const Result<> result = co_await task;
      if (!result) report_.violation("checkpoint failed: " + result.error().message);
      co_return;
    }
  }
}

Task<void> open_it(PoolMachine& machine, Report& report) {
  auto task = machine.open();
  const Result<> result = co_await task;
  if (!result) report.violation("it does not open: " + result.error().message);
}

// A pool that is not touched for a while writes what is left by itself.
Task<void> settle_down(uint64_t ns) {
  co_await Sleep{ns};
}

// Runs the sequence and crashes after `steps` disk operations of it (0: not at all, and when
// everything has come to rest); true if the crash came before the end.
bool run_once(const std::vector<Step>& steps, uint64_t seed, uint64_t crash_after, uint64_t* taken,
              LifeStatistics& statistics, Report& report) {
  PoolOptions options;
  options.settings.nodes_bytes = options.settings.sums_bytes = 256 * kib;
  options.settings.layers_bytes = options.settings.tail_bytes = 1 * mib;
  options.kill_percent = 25;
  PoolMachine machine(options, 7, report);
  Oracle oracle(Permissions::of(Attributes{}));
  machine.power_on(seed);
  machine.drive(open_it(machine, report));
  if (!report.ok()) return false;
  Script script(machine, oracle, report);
  machine.drive(script.prepare());
  const uint64_t before = machine.executor().steps();
  if (crash_after > 0) machine.crash_after(crash_after);
  bool ended = machine.drive(script.run(steps));
  if (ended) ended = machine.drive(settle_down(2 * options.settings.flush_after_ns));
  *taken = machine.executor().steps() - before;
  if (!report.ok()) return false;
  std::mt19937_64 random(seed + crash_after * 1000);
  machine.crash(random);
  ++statistics.crashes;
  statistics.operations += steps.size();
  machine.power_on(seed);
  machine.drive(open_it(machine, report));
  if (!report.ok()) return false;
  std::vector<Oracle::Found> found;
  machine.drive(gather(machine.store(), oracle, {}, found, report));
  if (report.ok())
    oracle.recovered(found, Permissions::of(machine.store().root_attributes()), false, report);
  if (report.ok()) compare_rebuilt(machine, found, report);
  check_node_versions(machine, report);
  std::mt19937_64 last(1);
  machine.crash(last);
  return !ended;
}

}  // namespace

uint64_t exhaustive_count() {
  return step_kinds + step_kinds * step_kinds + step_kinds * step_kinds * step_kinds;
}

LifeStatistics exhaustive_run(uint64_t seed, Report& report) {
  LifeStatistics statistics;
  const std::vector<Step> steps = sequence((seed - 1) % exhaustive_count());
  for (unsigned survival = 0; survival < survivals; ++survival) {
    uint64_t taken = 0;
    run_once(steps, 1 + survival, 0, &taken, statistics, report);
    for (uint64_t at = 1; at <= taken && report.ok(); ++at) {
      uint64_t unused = 0;
      run_once(steps, 1 + survival, at, &unused, statistics, report);
      if (!report.ok()) {
        Report more;
        more.violation(
            text("crashed at disk operation ", at, ", survival ", survival, ": ", report.what()));
        report = more;
      }
    }
    if (!report.ok()) break;
  }
  return statistics;
}

}  // namespace lamina::sim
