// SPDX-License-Identifier: Apache-2.0
// Random operations on a store by several coroutines at once, each told to the oracle when it
// begins and when it ends; what is read back meanwhile is checked at once.
// Two operations under way never touch the same block or name, so that what every block must hold
// is known; where they lie beside each other in one device is up to chance.
// Thread-safety: none. Ownership: outlives the coroutines that it starts, unless they are abandoned
// by a crash.
#pragma once

#include <functional>
#include <list>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "oracle.h"
#include "report.h"
#include "store.h"

namespace lamina::sim {

enum class Action : uint8_t {
  create,
  remove,
  rename,
  open,
  close,
  attributes,
  read_only,
  xattr,
  root,
  write,
  write_part,
  write_large,
  read,
  erase,
  resize,
  empty,
  reserve,
  map,
  flush,
  sync,
  checkpoint,
  wait,
  look,
  fork,
  roll_back,
  grow,
  copy,
  copy_all,
  members,
  defrag,
  origin,
  scrub,
  age,
};
inline constexpr size_t action_count = 33;

struct WorkloadOptions {
  unsigned workers = 1;
  uint64_t hot_blocks = 0;        // of each device, the first: most reads go there
  size_t operations = 50;         // after which `arm` is called
  size_t operations_after = 40;   // at most, until the crash has come
  uint64_t device_blocks = 200;   // most that a device grows to, but for a few far places
  size_t devices = 4;             // at once, some more while removed ones are open
  size_t forks = 3;               // besides
  uint64_t large_blocks = 100;    // of one large write
  uint64_t flush_after_ns = 0;    // 0: the store promises nothing by itself
  bool may_fill = false;          // no_space is an answer, not a bug
  bool damaged = false;           // checks may find something
  bool may_break = false;         // io and read_only are: disks fail
  bool may_lose = false;          // somebody has accepted a loss
  bool far_places = true;         // devices of many GiB, nearly empty
  std::vector<unsigned> weights;  // by Action
};
// A mixture that depends on the seed, so that each seed does much of something.
WorkloadOptions random_options(std::mt19937_64& random);

class Workload {
 public:
  Workload(Store& store, Oracle& oracle, WorkloadOptions options, std::mt19937_64& random,
           std::function<void()> arm, Report& report);

  // Ends when `operations` and what follows are done.
  Task<void> run();
  // Removes everything and then writes `blocks` blocks of one device, which must find room: nobody
  // need do anything but delete (promise 4).
  Task<void> start_afresh(uint64_t blocks);
  // Operations that were begun.
  size_t begun() const { return begun_; }
  uint64_t full_answers() const { return full_answers_; }

 private:
  struct Lease {
    const ModelDevice* device;
    uint64_t begin, end;  // blocks
    enum Kind : uint8_t { shared, exclusive, whole_device } kind;
  };
  using Held = std::list<Lease>::iterator;

  // --- one operation each
  Task<void> act(Action action);
  Task<void> do_create();
  Task<void> do_fork();
  // False: it cannot be read, so nobody knows which versions it has.
  Task<bool> settle_fork(DeviceRef device);
  Task<void> do_roll_back();
  Task<void> do_origin();
  Task<void> do_remove();
  Task<void> do_rename();
  Task<void> do_open();
  Task<void> do_close();
  Task<void> do_attributes();
  Task<void> do_read_only();
  Task<void> do_xattr();
  Task<void> do_root();
  Task<void> do_write(Action action);
  Task<void> do_read();
  Task<void> do_copy();
  Task<void> do_copy_all();
  Task<bool> copy(DeviceRef source, uint64_t offset, DeviceRef target, uint64_t to_offset,
                  uint64_t length);
  Task<void> do_erase();
  Task<void> do_resize();
  Task<void> do_empty();
  Task<void> do_reserve();
  Task<void> do_map();
  Task<void> do_flush();
  Task<void> do_everything(Action action);
  Task<void> do_grow();
  Task<void> do_members();
  Task<void> do_defrag();
  Task<void> do_scrub();
  Task<void> do_age();
  Task<void> do_wait();
  void do_look();

  Task<void> worker(Completion& done);
  // What a failed operation left behind is read back.
  Task<void> read_back(OperationIndex operation, DeviceRef device, uint64_t first, uint64_t blocks);

  uint64_t below(uint64_t limit) { return limit == 0 ? 0 : random_() % limit; }
  bool chance(unsigned percent) { return below(100) < percent; }
  Action choose_action();
  DeviceRef choose_device();
  std::string choose_name();
  Attributes choose_attributes();
  bool available(const Lease& lease) const;
  Held hold(const Lease& lease) { return leases_.insert(leases_.end(), lease); }
  // With disks that fail: nobody knows whether it happened. What it touched is left alone.
  bool broken(const Result<>& result) const;
  // Tells the oracle how a step that happens wholly or not at all has ended. False: unknown, so
  // what it holds must be kept.
  bool ended(const Result<>& result, OperationIndex operation, bool may_be_full = true);
  // Complains unless `result` is ok, or says that the pool is full where that may be: what makes
  // room must always work.
  template <class T>
  bool answered(const Result<T>& result, const std::string& what, bool may_be_full = true);
  void check_blocks(const ModelDevice& device, uint64_t offset, std::span<const std::byte> bytes);

  Store& store_;
  Oracle& oracle_;
  const WorkloadOptions options_;
  std::mt19937_64& random_;
  const std::function<void()> arm_;
  Report& report_;
  unsigned weight_sum_ = 0;
  size_t begun_ = 0;
  uint64_t checks_ = 0;
  uint64_t full_answers_ = 0;
  std::list<Lease> leases_;
  std::set<std::string> busy_names_;
  bool root_busy_ = false;
};

}  // namespace lamina::sim
