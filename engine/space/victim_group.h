// SPDX-License-Identifier: Apache-2.0
// Victims whose data is sorted together, read one after the other: ahead, while those before them
// are copied, or when they are wanted, at the mover's pace.
// Thread-safety: one coroutine. Lives until read() or settle().
#pragma once

#include <map>
#include <memory>
#include <set>

#include "base/executor.h"
#include "base/result.h"
#include "base/task.h"
#include "engine/space/victim.h"

namespace lamina {

class PoolState;

class VictimGroup {
 public:
  static std::unique_ptr<VictimGroup> begin(PoolState& pool, std::set<Generation> group,
                                            Victim::Payload payload, bool ahead);
  // When all of them have been read: awaited once, before anything else.
  Task<void> read();
  // When nothing is under way: awaited before it ends, unless read() was.
  Task<void> settle();
  std::map<Generation, Result<std::unique_ptr<Victim>>>& victims() { return victims_; }

 private:
  VictimGroup(PoolState& pool, std::set<Generation> group, Victim::Payload payload, bool ahead);
  Task<void> run(bool at_pace);

  PoolState& pool_;
  const std::set<Generation> group_;
  const Victim::Payload payload_;
  const bool ahead_;
  std::map<Generation, Result<std::unique_ptr<Victim>>> victims_;
  Completion done_;
};

}  // namespace lamina
