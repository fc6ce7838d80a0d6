// SPDX-License-Identifier: Apache-2.0
// Brings devices into order, one after the other, when somebody asks for it: each once from its
// beginning to its end in each tier that has data of it, a batch at a time, which is bounded in
// memory and in the space that it takes. What is to be moved engine/space/scattered_runs.h decides,
// from the newest image; the mover copies it and the next checkpoint publishes it, as when it
// cleans or ages, so a crash in between leaves everything where it was.
//
// What several devices share is moved for all of them, into the order of the first: those that can
// be written come before snapshots, in the order in which they were made, and what one job has
// moved it leaves. A snapshot may so come to have more extents than before; it is read seldom.
//
// Space: a batch fills free segments before the ones that it thins out can be cleaned. So it takes
// no more than half of what users may take, and leaves them half of the low mark, below which
// cleaning has begun; where even a segment is too much, and cleaning gains none, it ends early and
// says so.
// Thread-safety: all methods from any thread; run() in the background, one at a time.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/task.h"
#include "engine/image.h"
#include "engine/pool.h"
#include "engine/space/move_plan.h"

namespace lamina {

class PoolState;

class Defragmenter {
 public:
  explicit Defragmenter(PoolState& pool) : pool_(pool) {}

  // The answer has come when status().answered has reached what status().asked is now.
  void ask(std::vector<DeviceId> devices);
  // What is asked for and not done is given up after the batch under way.
  void stop();
  // Whether something is asked for and not answered.
  bool wanted() const;
  // Answers what has been asked for so far.
  Task<void> run();
  DefragStatus status() const;

 private:
  struct Scan {  // of one device in one tier: a batch of it
    DeviceId device = DeviceId::none;
    size_t tier = 0;
    DeviceBlock at{}, next{};
    bool ended = false;      // nothing lies at or behind `next`
    uint64_t looked_at = 0;  // blocks of data in [at, next)
    bool full = false;       // something is to be moved, and there is no room
  };
  std::vector<DeviceId> in_order(const std::vector<DeviceId>& wanted) const;
  Task<Result<>> run_job(std::vector<DeviceId> devices);
  Task<Result<>> defragment(DeviceId device, size_t tier);
  Task<Result<>> make_room(size_t tier);
  uint64_t room(size_t tier) const;  // segments
  Task<Result<MovePlan>> plan(ImagePtr image, Scan* scan);
  uint64_t mapped_by(const std::vector<DeviceId>& devices) const;
  Task<Result<uint64_t>> count_extents(std::vector<DeviceId> devices);
  ImageMap map_of(const Image& image, DeviceId device) const;
  Result<> go_on() const;
  void begin(DeviceId device);
  void note(const Scan& scan);

  PoolState& pool_;
  uint64_t job_ = 0;             // the newest that is being answered
  std::set<Generation> filled_;  // by it
  mutable Mutex mutex_;
  std::vector<DeviceId> wanted_ GUARDED_BY(mutex_);
  uint64_t stopped_ GUARDED_BY(mutex_) = 0;  // whatever was asked for up to here
  DefragStatus status_ GUARDED_BY(mutex_);
};

}  // namespace lamina
