// SPDX-License-Identifier: Apache-2.0
#include "runs.h"

#include <algorithm>
#include <array>

#include "changed_images.h"
#include "compare_rebuilt.h"
#include "compare_repaired.h"
#include "node_versions.h"
#include "pool_machine.h"
#include "text.h"

namespace lamina::sim {
namespace {

AfterRecovery rebuild_check(const PoolMachine& machine) {
  return [&machine](const std::vector<Oracle::Found>& found, Report& report) {
    compare_rebuilt(machine, found, report);
    check_node_versions(machine, report);
    return true;
  };
}

// The same, and images change behind the pool's back.
AfterRecovery rebuild_and_image_check(PoolMachine& machine) {
  return [&machine, rebuilt = rebuild_check(machine)](const std::vector<Oracle::Found>& found,
                                                      Report& report) {
    rebuilt(found, report);
    return !report.ok() || check_changed_image(machine, found, report);
  };
}

// Overwriting at random, most of it in pieces of some size, in two devices.
WorkloadOptions overwriting(std::mt19937_64& random, uint64_t blocks, uint64_t flush_after_ns) {
  WorkloadOptions work;
  work.workers = 1 + static_cast<unsigned>(random() % 4);
  work.operations = 1500 + random() % 1000;
  work.devices = 2;
  work.far_places = false;
  work.large_blocks = 60;
  work.device_blocks = blocks / 2;
  work.flush_after_ns = flush_after_ns;
  work.weights.assign(action_count, 0);
  const auto weigh = [&](Action action, unsigned weight) {
    work.weights[static_cast<size_t>(action)] = weight;
  };
  weigh(Action::create, 2);
  weigh(Action::write, 30);
  weigh(Action::write_part, 3);
  weigh(Action::write_large, 30);
  weigh(Action::read, 5);
  weigh(Action::copy, 8);
  weigh(Action::erase, 2);
  weigh(Action::flush, 3);
  weigh(Action::wait, 1);
  weigh(Action::defrag, 1);
  weigh(Action::scrub, 1);
  return work;
}

// The same with forks, rollbacks and removals in any order between.
void with_forks(WorkloadOptions& work) {
  work.weights[static_cast<size_t>(Action::fork)] = 3;
  work.weights[static_cast<size_t>(Action::roll_back)] = 1;
  work.weights[static_cast<size_t>(Action::remove)] = 3;
  work.weights[static_cast<size_t>(Action::copy_all)] = 1;
  work.weights[static_cast<size_t>(Action::origin)] = 1;
  work.weights[static_cast<size_t>(Action::open)] = 1;
  work.weights[static_cast<size_t>(Action::close)] = 1;
  work.weights[static_cast<size_t>(Action::empty)] = 1;
  work.weights[static_cast<size_t>(Action::checkpoint)] = 1;
}

enum class Disks : uint8_t { one_or_two, one, tiers };

PoolOptions on_small_disks(std::mt19937_64& random, Disks disks) {
  PoolOptions pool = random_pool_options(random);
  if (disks == Disks::one) pool.disks = 1;
  if (disks == Disks::tiers) add_tiers(pool, random);
  pool.disk_bytes = 64 * mib;
  return pool;
}

// What all runs begin with that overwrite a pool of small disks for a few long lives.
struct SmallPool {
  SmallPool(uint64_t seed, Disks disks, Report& report)
      : random(seed), pool(on_small_disks(random, disks)), machine(pool, random(), report) {
    options.flush_after_ns = pool.settings.flush_after_ns;
    options.count_space = true;
  }
  void overwrite(uint64_t of_blocks) {
    options.workload = overwriting(random, of_blocks, options.flush_after_ns);
  }
  LifeStatistics run(Report& report) {
    return live(machine, random(), options, rebuild_and_image_check(machine), report);
  }

  std::mt19937_64 random;
  const PoolOptions pool;
  PoolMachine machine;
  LifeOptions options;
  const uint64_t blocks =
      (pool.disks + pool.lower.size()) * pool.disk_bytes / block_size;  // of the media
};

}  // namespace

LifeStatistics random_run(uint64_t seed, Report& report) {
  std::mt19937_64 random(seed);
  const PoolOptions pool = random_pool_options(random);
  PoolMachine machine(pool, random(), report);
  LifeOptions options;
  options.lives = 18;
  options.count_space = true;
  options.flush_after_ns = pool.settings.flush_after_ns;
  return live(machine, random(), options, rebuild_and_image_check(machine), report);
}

LifeStatistics blobs_run(uint64_t seed, Report& report) {
  std::mt19937_64 random(seed);
  PoolOptions pool = random_pool_options(random);
  pool.disks = 1;
  while (pool.lower.size() < 2) add_tiers(pool, random);
  PoolMachine machine(pool, random(), report);
  LifeOptions options;
  options.lives = 18;
  options.count_space = true;
  options.tiers = true;
  options.flush_after_ns = pool.settings.flush_after_ns;
  return live(machine, random(), options, rebuild_and_image_check(machine), report);
}

LifeStatistics faults_run(uint64_t seed, Report& report) {
  std::mt19937_64 random(seed);
  PoolOptions pool = random_pool_options(random);
  // Mostly once, or now and then, which nobody need notice; a fifth of that where the mover works.
  // Many reads fail where maps are walked, and no node is cached (A8).
  constexpr std::array<Failing, 10> kinds{
      Failing::often, Failing::once, Failing::once, Failing::read,  Failing::once,
      Failing::often, Failing::once, Failing::once, Failing::reads, Failing::once};
  pool.fails = kinds[seed % kinds.size()];
  const bool walks = pool.fails == Failing::reads;
  LifeOptions options;
  options.lives = 12;
  options.flush_after_ns = pool.settings.flush_after_ns;
  options.disks_fail = true;
  options.count_space = true;
  options.may_break = pool.fails != Failing::once;
  if (walks || seed % 5 == 4) {
    if (walks) pool.settings.nodes_bytes = 0;
    pool.disk_bytes = 64 * mib;
    pool.crash_within = 1000;
    options.lives = 4;
    const uint64_t blocks = pool.disks * pool.disk_bytes / block_size;
    options.workload = overwriting(random, blocks * 54 / 100, options.flush_after_ns);
    options.workload.operations_after = options.workload.operations / 2;
    options.workload.operations -= options.workload.operations_after;
    options.workload.weights[static_cast<size_t>(Action::erase)] = 10;
    if (walks) {
      with_forks(options.workload);
      options.lives = 12;
      options.workload.operations /= 4;
      options.workload.operations_after /= 4;
    }
  }
  PoolMachine machine(pool, random(), report);
  return live(machine, random(), options, rebuild_check(machine), report);
}

LifeStatistics lost_disk_run(uint64_t seed, Report& report) {
  std::mt19937_64 random(seed);
  PoolOptions pool = random_pool_options(random);
  pool.disks = 2;
  if (random() % 3 == 0) add_tiers(pool, random);
  pool.fails = Failing::disk;
  LifeOptions options;
  options.lives = 10;
  options.flush_after_ns = pool.settings.flush_after_ns;
  options.disks_fail = true;
  options.count_space = true;
  PoolMachine machine(pool, random(), report);
  options.members = false;  // the other one could leave
  // A write that fails may tear the header by which a rebuild knows a segment.
  const AfterRecovery versions = [&machine](const auto&, Report& told) {
    check_node_versions(machine, told);
    return true;
  };
  return live(machine, random(), options, versions, report);
}

LifeStatistics steady_run(uint64_t seed, Report& report) {
  SmallPool small(seed, Disks::one_or_two, report);
  small.options.lives = 6;
  // Two devices that together fill half of the medium, some 60 % of what users can store.
  small.overwrite(small.blocks * 45 / 100);
  return small.run(report);
}

LifeStatistics forks_run(uint64_t seed, Report& report) {
  SmallPool small(seed, Disks::one_or_two, report);
  small.options.lives = 6;
  // Six devices and two that are removed while open, each diverged from all others, would fill some
  // 60 % of what users can store; or much more than all.
  const bool tight = small.random() % 2;
  small.overwrite(2 * (small.blocks * (tight ? 25 : 6) / 100));
  WorkloadOptions& work = small.options.workload;
  work.may_fill = tight;
  work.forks = 4;
  with_forks(work);
  return small.run(report);
}

LifeStatistics nearly_full_run(uint64_t seed, Report& report) {
  SmallPool small(seed, Disks::one, report);
  small.options.lives = 4;
  // 95 % of what users can store, all of it one owner's: it is overwritten for ever (promise 4).
  small.overwrite(small.blocks * 70 / 100);
  WorkloadOptions& work = small.options.workload;
  work.workers = 4;
  for (const Action action : {Action::copy, Action::create, Action::erase, Action::flush})
    work.weights[static_cast<size_t>(action)] = 0;
  work.weights[static_cast<size_t>(Action::create)] = 1;
  work.weights[static_cast<size_t>(Action::checkpoint)] = static_cast<unsigned>(small.random() % 3);
  return small.run(report);
}

LifeStatistics tiers_run(uint64_t seed, Report& report) {
  SmallPool small(seed, Disks::tiers, report);
  small.options.lives = 6;
  small.overwrite(small.blocks * (20 + small.random() % 25) / 100);
  WorkloadOptions& work = small.options.workload;
  if (small.pool.settings.promote) {
    work.weights[static_cast<size_t>(Action::read)] = 60;
    work.weights[static_cast<size_t>(Action::wait)] = 8;
    work.hot_blocks = 32;
  }
  if (small.random() % 2) {
    work.may_fill = true;
    work.forks = 4;
    with_forks(work);
  }
  return small.run(report);
}

LifeStatistics members_run(uint64_t seed, Report& report) {
  SmallPool small(seed, Disks::tiers, report);
  small.options.lives = 8;
  small.overwrite(small.blocks * (10 + small.random() % 30) / 100);
  WorkloadOptions& work = small.options.workload;
  work.operations /= 2;
  if (small.random() % 2) {
    work.forks = 4;
    with_forks(work);
  }
  work.may_fill = true;
  work.weights[static_cast<size_t>(Action::members)] = 2;
  work.weights[static_cast<size_t>(Action::wait)] = 3;
  return small.run(report);
}

LifeStatistics full_run(uint64_t seed, Report& report) {
  SmallPool small(seed, Disks::one, report);
  small.options.lives = 4;
  small.overwrite(small.blocks * 2);
  WorkloadOptions& work = small.options.workload;
  work.may_fill = true;
  if (small.random() % 2) with_forks(work);
  // Seldom: it would never become full. What is refused is most of what fills it.
  work.weights[static_cast<size_t>(Action::remove)] = small.random() % 2;
  work.weights[static_cast<size_t>(Action::write_large)] = 200;
  small.options.afresh_blocks = small.blocks / 2;
  return small.run(report);
}

LifeStatistics fall_back_run(uint64_t seed, Report& report) {
  std::mt19937_64 random(seed);
  PoolOptions pool = on_small_disks(random, Disks::one_or_two);
  pool.loses_newest_slot = true;
  const uint64_t blocks = pool.disks * pool.disk_bytes / block_size;
  PoolMachine machine(pool, random(), report);
  LifeOptions options;
  options.lives = 8;
  options.flush_after_ns = pool.settings.flush_after_ns;
  options.count_space = true;
  options.members = false;  // what has just been added only the newest knows
  options.workload = overwriting(random, blocks * 30 / 100, options.flush_after_ns);
  options.workload.operations /= 2;
  options.workload.may_fill = true;
  if (random() % 2) {
    options.workload.forks = 4;
    with_forks(options.workload);
  }
  return live(machine, random(), options, rebuild_check(machine), report);
}

LifeStatistics repair_run(uint64_t seed, Report& report) {
  std::mt19937_64 random(seed);
  const unsigned work = seed % 4;
  PoolOptions pool = work == 0   ? random_pool_options(random)
                     : work == 1 ? on_small_disks(random, Disks::tiers)
                                 : on_small_disks(random, Disks::one_or_two);
  pool.keeps_found = true;
  const uint64_t blocks = (pool.disks + pool.lower.size()) * pool.disk_bytes / block_size;
  PoolMachine machine(pool, random(), report);
  LifeOptions options;
  options.lives = work == 0 ? 12 : 5;
  options.flush_after_ns = pool.settings.flush_after_ns;
  if (work > 0) {
    options.workload = overwriting(random, blocks * 30 / 100, options.flush_after_ns);
    options.workload.operations /= 2;
    options.workload.may_fill = true;
    options.workload.forks = 4;
    with_forks(options.workload);
  }
  const AfterRecovery repaired = [&](const std::vector<Oracle::Found>& found, Report& told) {
    compare_repaired(machine, found, random, told);
    return true;
  };
  return live(machine, random(), options, repaired, report);
}

}  // namespace lamina::sim
