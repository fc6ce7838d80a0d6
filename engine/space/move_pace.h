// SPDX-License-Identifier: Apache-2.0
// How fast the mover, and a scrub, go on beside users, who are not to feel it: in steps, and while
// they are at work of no more bytes a second, read and written, than a part of each processor is
// good for. No
// space comes back while a batch is under way, so one is no larger than fits the time that users'
// room lasts, and where it might not, since they have begun to write or write more, it goes faster.
// Nothing is held back while nobody uses the pool, waits for space, or closes it.
// What is compressed besides is done by workers that yield to users (Settings::workers).
// Thread-safety: copied() from any thread; the rest by who moves, one at a time.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/task.h"
#include "base/units.h"

namespace lamina {

class PoolState;

struct PaceNeed {
  uint64_t left = 0;         // bytes of the batch, to be read and written
  uint64_t room = 0;         // bytes that users may still write,
  uint64_t users_write = 0;  // and do a second
  uint64_t least = 0;        // bytes a second that are good beside whatever they do
};
// Bytes a second, read and written. UINT64_MAX: as fast as it can.
uint64_t pace_of(const PaceNeed& need);
// Bytes that a batch may have to read and write at the least pace.
uint64_t batch_of(const PaceNeed& need);

class MovePace {
 public:
  // Beside users, for each worker, by who writes what he reads.
  static constexpr uint64_t moving = 40 * mib;
  explicit MovePace(PoolState& pool, uint64_t beside_users = moving)
      : pool_(pool), beside_users_(beside_users) {}

  // Before a plan is made: what users do.
  Task<void> look();
  // That a batch may have: at most 2 GiB, which are sorted at once.
  uint64_t most_blocks() const;
  // A batch begins, of so much payload.
  void begin(uint64_t blocks);
  void note_read(uint64_t bytes) { owed_ += bytes; }
  void note_copied(uint64_t bytes);
  // After a step: whether it is time to look at users,
  bool due() const { return owed_ >= step_bytes; }
  // and to let them be.
  Task<void> rest();
  // Whether no user was at work at the last look.
  bool alone() const;
  // Bytes that are read at once.
  uint64_t window() const;
  // Payload of the batch under way, or the last one, so far.
  uint64_t copied() const { return copied_; }

 private:
  static constexpr uint64_t step_bytes = 1 << 20;

  bool users_at_work(uint64_t now_ns);
  PaceNeed need() const;

  PoolState& pool_;
  const uint64_t beside_users_;
  std::atomic<uint64_t> copied_{0};
  uint64_t all_ = 0;       // of payload, bytes
  uint64_t owed_ = 0;      // bytes, of the step
  uint64_t begun_ns_ = 0;  // when it did
  uint64_t used_ = 0, last_use_ns_ = 0;
  // What users write a second, of late; and the look before.
  uint64_t users_write_ = 0, written_ = 0, looked_ns_ = 0;
};

}  // namespace lamina
