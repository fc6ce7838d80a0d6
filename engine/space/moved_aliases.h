// SPDX-License-Identifier: Apache-2.0
// What a batch of the mover may have to state anew: the aliases whose data or whose home lies in a
// victim, each part of them that one entry states once, with the leaves that have it (mover.h).
// Thread-safety: one coroutine.
#pragma once

#include <map>
#include <set>
#include <span>

#include "base/task.h"
#include "engine/image.h"
#include "engine/maps/relocations.h"
#include "engine/space/facts.h"
#include "engine/space/victim.h"
#include "engine/space/walk.h"

namespace lamina {

class MovedWriter;
class PoolState;

class MovedAliases {
 public:
  // Before anything of the victim moves: notes what refers to it by an alias. Error: a home cannot
  // be read, or says something else than the maps.
  Task<Result<>> find(PoolState& pool, const Image& image, const Victim& victim,
                      std::span<const Referrer* const> referrers);
  // The homes in this segment are given up.
  void give_up_homes(Generation victim) { emptied_.insert(victim); }
  // After everything has its new place.
  Task<Result<>> restate(MovedWriter& writer, Relocations& moved) const;

 private:
  struct Key {  // in the order of place
    MapId map = MapId::none;
    DeviceBlock begin{}, end{};
    Sequence sequence = 0;
    Generation home = Generation::none;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Stated {
    Entry entry;
    std::set<NodeId> leaves;
  };
  void add(const Entry& entry, Generation home, NodeId leaf);
  Task<Result<const Facts*>> facts_of(PoolState& pool, Generation home, const Image& image);

  std::map<Key, Stated> stated_;
  std::set<Generation> emptied_;
  std::map<Generation, Facts> homes_;  // that are not being emptied, lately read
};

}  // namespace lamina
