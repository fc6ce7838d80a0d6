// SPDX-License-Identifier: Apache-2.0
// Looks at everything that the open pool has on its disks, while it is in use, and says what is
// wrong by the id of the rule that it breaks. Changes nothing; what is damaged and met by others
// is healed by those (engine/heal/healer.h), and is a finding all the same.
//
// What is looked at is what the newest checkpoint says, piece by piece: each piece holds the image
// that is the newest then, so no space is kept from coming back for long, and what changes
// meanwhile is not taken for damage. What cannot be held still (superblocks, slots, seals that are
// just being written) is a finding only if it is still so after another checkpoint.
//
//   fixed places   superblocks, and the slots of K_new and K_old, all copies (A13)
//   tables         both copies of their pages (C5)
//   nodes          both copies, of both images (B3)
//   maps           order, addresses, counts; ranges that are lost (F10, A4, D2, B6)
//   segments       headers, summaries, checksums, record headers (B7, B4, B6, B1)
//   data           every block of payload, if it is wanted (B6)
// Thread-safety: all methods from any thread; run() in the background, one at a time.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/task.h"
#include "engine/image.h"
#include "engine/pool.h"
#include "engine/space/move_pace.h"
#include "engine/space/space.h"
#include "engine/tables.h"

namespace lamina {

class PoolState;

class Checker {
 public:
  explicit Checker(PoolState& pool);

  // The answer has come when status().answered has reached what status().asked is now.
  void ask(bool data);
  void stop();
  bool wanted() const;
  // Answers what has been asked for so far.
  Task<void> run();

  CheckStatus status() const;
  std::vector<CheckFinding> findings() const;

 private:
  using Findings = std::vector<CheckFinding>;
  Task<Result<>> pass(bool data);
  Task<Result<>> checkpoint();
  Result<> go_on() const;
  void doing(const char* what, uint64_t all);
  void note(uint64_t CheckStatus::*counter, uint64_t count = 1);
  void add(CheckFinding finding);
  void add_all(Findings findings);
  std::string place(Address address) const;  // path and byte
  std::string in_device(DeviceId id, BlockRange range) const;

  void check_health();
  Task<Result<>> check_fixed_places();
  Task<Findings> look_at_fixed_places();
  Task<void> look_at_slots(Blob& blob, const std::set<uint64_t>& torn, std::vector<Slot>& backed,
                           Findings& out);

  Task<Result<>> check_nodes();
  Task<void> check_node(NodeId id, bool older);
  Task<Result<>> check_maps();
  Task<void> check_map(ImageMap map);

  Task<Result<>> check_segments();
  Task<Findings> look_at(Generation generation);
  Task<Result<>> check_data();

  PoolState& pool_;
  MovePace pace_;
  mutable Mutex mutex_;
  CheckStatus status_ GUARDED_BY(mutex_);
  Findings findings_ GUARDED_BY(mutex_);
  uint64_t stopped_ GUARDED_BY(mutex_) = 0;  // whatever was asked for up to here
  bool data_ GUARDED_BY(mutex_) = false;
};

}  // namespace lamina
