// SPDX-License-Identifier: Apache-2.0
#include "life.h"

#include <cstdio>
#include <memory>

#include "check_space.h"
#include "inspection.h"
#include "text.h"

namespace lamina::sim {
namespace {

class Life {
 public:
  Life(Machine& machine, uint64_t seed, const LifeOptions& options, Report& report)
      : machine_(machine), options_(options), random_(seed), oracle_({0, 0, 0}), report_(report) {}

  LifeStatistics run(const AfterRecovery& after_recovery);

 private:
  void open();
  void look(const AfterRecovery& after_recovery);
  void work();
  void start_afresh(const AfterRecovery& after_recovery);
  void count_space();
  void end();
  Workload* workload(std::function<void()> arm);
  void crash() {
    machine_.crash(random_);
    ++statistics_.crashes;
    exact_ = false;
  }

  Machine& machine_;
  const LifeOptions& options_;
  std::mt19937_64 random_;
  Oracle oracle_;
  Report& report_;
  LifeStatistics statistics_;
  bool first_ = true, exact_ = true, running_ = false;
};

Task<void> open_machine(Machine& machine, Report& report) {
  auto task = machine.open();
  const Result<> result = co_await task;
  if (!result)
    report.violation(text("it does not open: code ", static_cast<int>(result.error().code), " ",
                          result.error().message));
}

// A disk that fails while it closes may be the end of that, as of the power.
Task<void> close_store(Store& store, Oracle& oracle, bool may_fail, bool& closed, Report& report) {
  const std::vector<OperationIndex> covered = oracle.covered(nullptr);
  auto task = store.close();
  const Result<> result = co_await task;
  closed = result.has_value();
  if (result)
    oracle.durable(covered);
  else if (!may_fail)
    report.violation(text("it does not close: ", result.error().message));
}

// Recovery itself is crashed now and then, several times in a row.
void Life::open() {
  for (unsigned attempt = 0;; ++attempt) {
    machine_.power_on(random_());
    if (!first_ && !options_.disks_fail && attempt < 4 && random_() % 4 == 0)
      machine_.arm_crash(random_);
    running_ = machine_.drive(open_machine(machine_, report_));
    if (running_) return;
    ++statistics_.crashes_while_opening;
    crash();
  }
}

void Life::look(const AfterRecovery& after_recovery) {
  std::vector<Oracle::Found> found;
  running_ = machine_.drive(gather(machine_.store(), oracle_, {}, found, report_));
  if (!running_ || !report_.ok()) return;
  const Permissions root = Permissions::of(machine_.store().root_attributes());
  if (first_) oracle_ = Oracle(root);
  first_ = false;
  if (Operations::trace) std::printf("recovered: %zu devices\n", found.size());
  oracle_.recovered(found, root, exact_, report_);
  if (report_.ok() && after_recovery) running_ = after_recovery(found, report_);
  if (running_ && report_.ok() && options_.count_space && random_() % 3 == 0) count_space();
}

void Life::count_space() {
  std::vector<DeviceId> nameless;
  for (const auto& [tag, device] : oracle_.devices())
    if (device->name.empty() && device->opens > 0) nameless.push_back(device->id);
  running_ = machine_.drive(
      check_space(machine_.store(), std::move(nameless), options_.disks_fail, report_));
}

// Kept when it is abandoned by a crash: what it started refers to it.
Workload* Life::workload(std::function<void()> arm) {
  WorkloadOptions options = options_.workload;
  if (options.weights.empty()) {
    options = random_options(random_);
    options.flush_after_ns = options_.flush_after_ns;
    if (!options_.members) options.weights[static_cast<size_t>(Action::members)] = 0;
    if (options_.tiers) {
      options.weights[static_cast<size_t>(Action::age)] = 8;
      options.weights[static_cast<size_t>(Action::members)] = 4;
      options.weights[static_cast<size_t>(Action::checkpoint)] += 4;
    }
  }
  options.may_break = options_.may_break;
  options.damaged = options_.damaged || options_.disks_fail;
  return new Workload(machine_.store(), oracle_, options, random_, std::move(arm), report_);
}

void Life::work() {
  const bool counts = options_.count_space && random_() % (options_.disks_fail ? 2 : 6) == 0;
  Workload* const workload = this->workload([this, counts] {
    if (!counts || options_.disks_fail) machine_.arm_crash(random_);
  });
  running_ = machine_.drive(workload->run());
  statistics_.operations += workload->begun();
  statistics_.evacuated_bytes += machine_.store().status().evacuated_bytes;
  statistics_.zeroes_dropped += machine_.store().status().scrub.zeroes_dropped;
  statistics_.removed_blobs = machine_.removed_blobs();
  statistics_.full_answers += workload->full_answers();
  if (!running_) statistics_.operations_before_crash.push_back(workload->begun());
  if (running_) statistics_.survived_failures += machine_.store().status().survived_failures;
  if (running_) statistics_.healed += machine_.store().status().healed;
  if (running_) statistics_.rebuilt_nodes += machine_.store().status().rebuilt_nodes;
  if (running_) statistics_.aged_bytes += machine_.store().status().aged_bytes;
  if (running_) statistics_.promoted_bytes += machine_.store().status().promoted_bytes;
  if (!running_) return;
  delete workload;
  if (report_.ok() && counts) count_space();
}

// One life more, in which everything is removed and much is written again (promise 4).
void Life::start_afresh(const AfterRecovery& after_recovery) {
  open();
  if (report_.ok()) look(after_recovery);
  if (!running_ || !report_.ok()) return;
  Workload* const workload = this->workload([] {});
  running_ = machine_.drive(workload->start_afresh(options_.afresh_blocks));
  delete workload;
  if (report_.ok()) crash();
  if (report_.ok()) open();
  if (report_.ok()) look(after_recovery);
}

void Life::end() {
  if (running_ && !options_.may_break && random_() % 2) {
    bool closed = false;
    running_ = machine_.drive(
        close_store(machine_.store(), oracle_, options_.disks_fail, closed, report_));
    if (running_ && closed && report_.ok()) {
      ++statistics_.clean_closes;
      machine_.power_off();
      exact_ = true;
      return;
    }
  }
  crash();
}

LifeStatistics Life::run(const AfterRecovery& after_recovery) {
  for (unsigned life = 0; life < options_.lives && report_.ok(); ++life) {
    open();
    if (report_.ok()) look(after_recovery);
    if (running_ && report_.ok()) work();
    if (report_.ok()) end();
  }
  if (options_.afresh_blocks > 0 && report_.ok()) start_afresh(after_recovery);
  return statistics_;
}

}  // namespace

LifeStatistics live(Machine& machine, uint64_t seed, const LifeOptions& options,
                    const AfterRecovery& after_recovery, Report& report) {
  Life life(machine, seed, options, report);
  return life.run(after_recovery);
}

}  // namespace lamina::sim
