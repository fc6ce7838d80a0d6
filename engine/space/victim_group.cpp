// SPDX-License-Identifier: Apache-2.0
#include "engine/space/victim_group.h"

#include <utility>

#include "engine/pool_state.h"

namespace lamina {

std::unique_ptr<VictimGroup> VictimGroup::begin(PoolState& pool, std::set<Generation> group,
                                                Victim::Payload payload, bool ahead) {
  std::unique_ptr<VictimGroup> begun(new VictimGroup(pool, std::move(group), payload, ahead));
  if (ahead) spawn(begun->run(false));
  return begun;
}

VictimGroup::VictimGroup(PoolState& pool, std::set<Generation> group, Victim::Payload payload,
                         bool ahead)
    : pool_(pool), group_(std::move(group)), payload_(payload), ahead_(ahead) {}

Task<void> VictimGroup::read() {
  if (!ahead_) co_await run(true);
  co_await done_;
}

Task<void> VictimGroup::settle() {
  if (ahead_) co_await done_;
}

// What is read ahead is paid for by the pace of what is copied.
Task<void> VictimGroup::run(bool at_pace) {
  for (const Generation generation : group_) {
    auto victim = co_await Victim::load(pool_, generation, payload_);
    if (payload_ == Victim::Payload::now) {
      if (!victim)  // as much of it as can be read
        victim = co_await Victim::load(pool_, generation, Victim::Payload::later);
      if (victim) pool_.move_pace.note_read((*victim)->payload_bytes());
    }
    victims_.emplace(generation, std::move(victim));
    if (at_pace && pool_.move_pace.due()) co_await pool_.move_pace.rest();
  }
  done_.signal();
}

}  // namespace lamina
