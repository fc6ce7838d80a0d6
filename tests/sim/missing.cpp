// SPDX-License-Identifier: Apache-2.0
// A disk is not there when the pool is opened (A13).
//
// The pool lives with all its disks, then one of the lower tiers is taken away between two lives.
// By force it is served: exactly what lies on that disk is EIO, by what another pool over the same
// media, opened to be read only and with all of them, says of where everything lies; and it is
// written to. Then the disk comes back, and all is what it was, but for what was written meanwhile;
// or its loss is accepted, crashed at any step, and what lay there is lost for good, whether or not
// the disk comes back in the midst of it.
#include <algorithm>
#include <memory>
#include <optional>
#include <set>

#include "base/checksum.h"
#include "inspection.h"
#include "pool_machine.h"
#include "runs.h"
#include "text.h"

namespace lamina::sim {
namespace {

using BlocksOf = std::map<DeviceId, std::vector<uint64_t>>;

uint64_t sum_of(const Content& content) {
  Buffer block(block_size);
  content.fill(block.span());
  return plain_checksum(block.span());
}

// The blocks of all devices that lie on that blob; those that are lost; and those on the rest.
Task<void> find_blocks(Store& store, BlobId blob, BlocksOf& there, BlocksOf& lost,
                       Report& report) {
  const std::vector<DeviceInfo> devices = store.list();
  for (const DeviceInfo& info : devices) {
    auto task = store.map(info.id, DeviceBlock{0}, 1 << 20);
    const Result<std::vector<MappedRange>> ranges = co_await task;
    if (!ranges) {
      report.violation("a map cannot be read: " + ranges.error().message);
      co_return;
    }
    for (const MappedRange& range : *ranges) {
      const bool on_it =
          range.state == RangeState::data && range.origin.empty() && range.blob == blob;
      if (!on_it && range.state != RangeState::lost) continue;
      for (uint64_t i = 0; i < range.range.length().value; ++i)
        if ((range.range.begin.value + i) * block_size < info.size_bytes)
          (on_it ? there : lost)[info.id].push_back(range.range.begin.value + i);
    }
  }
}

class MissingDiskRun {
 public:
  MissingDiskRun(uint64_t seed, Report& report)
      : random_(seed),
        options_(choose(random_)),
        machine_(options_, random_(), report),
        report_(report) {
    oracle_.tell_gone([this](const Content& content) { return gone_.contains(sum_of(content)); });
  }

  LifeStatistics run();

 private:
  static PoolOptions choose(std::mt19937_64& random) {
    PoolOptions options = random_pool_options(random);
    add_tiers(options, random);
    options.disk_bytes = 64 * mib;
    options.settings.promote = false;
    // Most of it is on the lower tiers soon.
    for (auto& [name, aging] : options.settings.aging) aging = {80, 1'000'000};
    return options;
  }

  WorkloadOptions work_options();
  void work(const WorkloadOptions& work, bool crashes);
  bool open();
  void look(bool exact);
  void crash() {
    machine_.crash(random_);
    ++statistics_.crashes;
    exact_ = false;
  }
  void note_what_goes();
  void note_gone(BlocksOf blocks) {
    for (const auto& [tag, device] : oracle_.devices())
      for (const uint64_t block : blocks[device->id]) gone_.insert(sum_of(device->block(block)));
  }
  void overwrite_some();
  bool accept_loss();
  void lives_with_all();
  void lives_without();

  std::mt19937_64 random_;
  const PoolOptions options_;
  PoolMachine machine_;
  Report& report_;
  Oracle oracle_{Permissions::of(Attributes{})};
  LifeStatistics statistics_;
  bool exact_ = true, running_ = false, loses_ = false;
  std::string name_;  // of the blob that is taken away
  BlobId blob_ = BlobId::none;
  BlocksOf expected_;  // what must be EIO at the next look
  bool knows_expected_ = false;
  CheckpointNumber expected_at_ = 0, opened_at_ = 0;
  std::set<uint64_t> gone_;  // the contents that lay on it
};

WorkloadOptions MissingDiskRun::work_options() {
  WorkloadOptions work = random_options(random_);
  work.operations = name_.empty() ? 400 : 120;
  work.operations_after = 40;
  work.flush_after_ns = options_.settings.flush_after_ns;
  work.device_blocks = 300;
  work.far_places = false;
  const auto weigh = [&](Action action, unsigned weight) {
    work.weights[static_cast<size_t>(action)] = weight;
  };
  weigh(Action::members, 0);
  weigh(Action::grow, 0);
  weigh(Action::wait, 8);
  weigh(Action::write_large, 20);
  weigh(Action::fork, 4);
  if (!name_.empty()) weigh(Action::scrub, 0);  // one that is under way has found what was missing
  if (!machine_.is_away() && !loses_) return work;
  // What cannot be read is not told in the oracle from what it would become.
  work.may_break = work.may_lose = work.damaged = true;
  for (const Action action : {Action::copy, Action::copy_all, Action::roll_back, Action::resize,
                              Action::defrag, Action::scrub, Action::origin})
    weigh(action, 0);
  return work;
}

void MissingDiskRun::work(const WorkloadOptions& options, bool crashes) {
  Workload* const workload = new Workload(
      machine_.store(), oracle_, options, random_,
      [this, crashes] {
        if (crashes) machine_.arm_crash(random_);
      },
      report_);
  running_ = machine_.drive(workload->run());
  statistics_.operations += workload->begun();
  if (!running_) return;  // what it started refers to it
  delete workload;
  const std::string health = machine_.store().status().health;
  if (health.starts_with("read-only")) report_.violation("without a disk it turned " + health);
}

bool MissingDiskRun::open() {
  machine_.power_on(random_());
  Result<> opened = fail(Code::io);
  const auto opening = [](PoolMachine& machine, Result<>& result) -> Task<void> {
    auto task = machine.open();
    result = co_await task;
  };
  running_ = machine_.drive(opening(machine_, opened));
  if (running_ && opened) opened_at_ = machine_.store().status().checkpoint;
  if (running_ && !opened) report_.violation("it does not open: " + opened.error().message);
  return running_ && opened;
}

// What is EIO is what lies on the disk that is away, or is lost; no more, and no less.
void MissingDiskRun::look(bool exact) {
  BlocksOf there, lost;
  if (!name_.empty()) machine_.drive(find_blocks(machine_.store(), blob_, there, lost, report_));
  BlocksOf may_fail = lost;
  loses_ = !lost.empty();
  if (machine_.is_away())
    for (const auto& [device, blocks] : there)
      may_fail[device].insert(may_fail[device].end(), blocks.begin(), blocks.end());
  // Where only that disk has the slot of the newest checkpoint, the one before counts, and what was
  // moved between them, onto the disk (seed 59) or off it (26), is where it was.
  if (knows_expected_ && opened_at_ != expected_at_)
    note_gone(there);
  else if (knows_expected_ && there != expected_)
    report_.violation("without the disk something else lies on it");
  knows_expected_ = false;
  std::vector<Oracle::Found> found;
  machine_.drive(gather(machine_.store(), oracle_, may_fail, found, report_));
  if (!report_.ok()) return;
  for (const Oracle::Found& one : found)
    for (const uint64_t block : may_fail[one.info.id])
      if (!one.unreadable.contains(block) && one.blocks.contains(block))
        report_.violation(text("block ", block, " of ", one.info.name,
                               " can be read, although it is lost or on a disk that is away"));
  oracle_.recovered(found, Permissions::of(machine_.store().root_attributes()), exact, report_);
}

// Where everything lies, as a recovery finds it: by a pool that writes nothing, over copies of the
// media as they are now.
void MissingDiskRun::note_what_goes() {
  std::vector<std::unique_ptr<SimMedium>> copies;
  SimExecutor executor(random_());
  Settings settings = machine_.settings();
  settings.open_image = machine_.open_image();
  settings.read_only = true;
  Blobs blobs;
  for (const auto& medium : machine_.media()) {
    copies.push_back(medium->clone());
    copies.back()->on_violation([](const std::string&) {});
    std::shared_ptr<Disk> disk = open_sim_disk(*copies.back(), executor);
    Result<Blob::Found> found = fail(Code::io);
    executor.run_until(Blob::find(*disk), found);
    if (found) blobs.push_back(std::make_shared<Blob>(std::move(disk), found->superblock));
  }
  Result<std::unique_ptr<Pool>> pool = fail(Code::io);
  executor.run_until(Pool::open(std::move(blobs), settings), pool);
  if (!pool) return report_.violation("to be read it does not open: " + pool.error().message);
  expected_at_ = (*pool)->status().checkpoint;
  std::vector<BlobStatus> lower;
  for (const BlobStatus& blob : (*pool)->status().blobs)
    if (blob.tier > 0) lower.push_back(blob);
  const BlobStatus chosen = lower[random_() % lower.size()];
  name_ = chosen.name;
  blob_ = chosen.id;
  BlocksOf lost;
  const auto store = machine_.store_of(**pool);
  std::vector<Oracle::Found> found;
  executor.run_until(find_blocks(*store, blob_, expected_, lost, report_));
  executor.run_until(gather(*store, oracle_, {}, found, report_));
  if (report_.ok())
    oracle_.recovered(found, Permissions::of(store->root_attributes()), exact_, report_);
  if (!lost.empty()) report_.violation("something is lost, and nothing was damaged");
  knows_expected_ = true;
  note_gone(expected_);
  std::erase_if(expected_, [](const auto& one) { return one.second.empty(); });
  for (size_t i = 0; i < machine_.media().size(); ++i)
    if (machine_.media()[i]->name() == chosen.path) return machine_.take_away(i);
}

// A block that cannot be read is one that can be written.
void MissingDiskRun::overwrite_some() {
  const auto writing = [](MissingDiskRun& run) -> Task<void> {
    BlocksOf there, lost;
    auto finding = find_blocks(run.machine_.store(), run.blob_, there, lost, run.report_);
    co_await finding;
    for (const auto& [tag, device] : run.oracle_.devices()) {
      if (device->read_only.current() || there[device->id].empty()) continue;
      const auto& blocks = there[device->id];
      const uint64_t block = blocks[run.random_() % blocks.size()];
      if ((block + 1) * block_size > device->bytes()) continue;
      const uint64_t version = run.oracle_.next_version();
      Buffer data(block_size);
      Oracle::pattern(*device, block * block_size, version, {false}, data.span());
      const OperationIndex operation =
          run.oracle_.write(*device, block * block_size, version, {false}, data.span());
      auto task = run.machine_.store().write(device->id, block * block_size, data.span());
      const Result<> written = co_await task;
      if (!written)
        run.report_.violation("what cannot be read cannot be written either: " +
                              written.error().message);
      run.oracle_.completed(operation);
    }
  };
  machine_.drive(writing(*this));
}

Task<void> work_and_signal(Workload& workload, Completion& ended) {
  auto working = workload.run();
  co_await working;
  ended.signal();
}

Task<void> remove_beside(Pool& pool, std::string name, Workload* workload, Result<>& result) {
  Completion ended;
  if (workload) spawn(work_and_signal(*workload, ended));
  auto task = pool.remove_blob(std::move(name), true);
  result = co_await task;
  if (workload) co_await ended;
}

// Users go on meanwhile, or there are none. False: the crash came, or there was no room for what
// can be read, or somebody forked what lay there.
bool MissingDiskRun::accept_loss() {
  // A crash came between its end and the answer.
  if (std::ranges::none_of(machine_.store().status().blobs,
                           [&](const BlobStatus& blob) { return blob.name == name_; }))
    return true;
  if (random_() % 3) machine_.crash_after(1 + random_() % 600);
  Result<> removed = fail(Code::io);
  std::unique_ptr<Workload> users;
  if (random_() % 2) {
    WorkloadOptions options = work_options();
    options.operations = 60;
    options.operations_after = 0;
    users = std::make_unique<Workload>(
        machine_.store(), oracle_, options, random_, [] {}, report_);
  }
  running_ = machine_.drive(remove_beside(machine_.pool(), name_, users.get(), removed));
  if (!running_) {
    static_cast<void>(users.release());  // what it started refers to it
    return false;
  }
  machine_.crash_after(UINT64_MAX / 2);
  if (removed) ++statistics_.removed_blobs;
  if (!removed && removed.error().code != Code::no_space && removed.error().code != Code::busy)
    report_.violation("the loss is not accepted: " + removed.error().message);
  return removed.has_value();
}

void MissingDiskRun::lives_with_all() {
  for (unsigned life = 0; life < 3 && report_.ok(); ++life) {
    if (!open()) return;
    look(exact_);
    if (report_.ok()) work(work_options(), random_() % 2);
    statistics_.aged_bytes += running_ ? machine_.store().status().aged_bytes : 0;
    crash();
  }
}

void MissingDiskRun::lives_without() {
  const bool accepts = random_() % 2;
  bool accepted = false;
  for (unsigned life = 0; life < 6 && report_.ok() && !accepted; ++life) {
    if (!open()) return;
    look(life == 0);  // as the pool that was to be read found it
    if (report_.ok() && random_() % 2) overwrite_some();
    const bool last = accepts && life > 0;
    if (report_.ok() && !last) work(work_options(), random_() % 2);
    if (report_.ok() && last) accepted = accept_loss();
    crash();
    // Back in the midst of it, or for a while; what was lost by then stays so.
    if (machine_.is_away() && life > 1 && random_() % 4 == 0) machine_.bring_back();
  }
}

LifeStatistics MissingDiskRun::run() {
  lives_with_all();
  if (report_.ok()) note_what_goes();
  if (report_.ok()) lives_without();
  if (machine_.is_away()) machine_.bring_back();
  for (unsigned life = 0; life < 2 && report_.ok(); ++life) {
    if (!open()) break;
    look(false);
    if (report_.ok()) work(work_options(), false);
    crash();
  }
  return statistics_;
}

}  // namespace

LifeStatistics missing_run(uint64_t seed, Report& report) {
  MissingDiskRun run(seed, report);
  return run.run();
}

}  // namespace lamina::sim
