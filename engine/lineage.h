// SPDX-License-Identifier: Apache-2.0
// Which map was forked from which, at which entry. A map that is gone stays in it as long as a
// living one descends from it: entries of it on the medium say what that one holds (C5).
// Thread-safety: plain values and pure functions.
#pragma once

#include <unordered_map>
#include <vector>

#include "base/units.h"

namespace lamina {

struct LineageRow {
  MapId map = MapId::none, parent = MapId::none;
  Sequence forked_at = 0;
  DeviceId device = DeviceId::none;
  friend bool operator==(const LineageRow&, const LineageRow&) = default;
};

using Lineage = std::vector<LineageRow>;

// What a map can see of one map: its entries up to a number.
struct Sight {
  MapId map = MapId::none;
  Sequence limit = 0;
};
// The map itself, whole, and the maps that it descends from, the nearest first.
std::vector<Sight> sights(const Lineage& lineage, MapId map);

// At which entry another map diverged from this one: what is older they may have in common.
class DivergencesFrom {
 public:
  DivergencesFrom(const Lineage& lineage, MapId map);
  // 0: they have nothing in common. UINT64_MAX: it is the map itself.
  Sequence operator()(MapId other) const;

 private:
  std::unordered_map<MapId, LineageRow> rows_;
  std::unordered_map<MapId, Sequence> sees_;
};

// Whether something was forked from the map at an entry in [low, high): whoever sees the one number
// may not see the other (C1).
bool forked_between(const Lineage& lineage, MapId map, Sequence low, Sequence high);

// Of each living map, the newest entry at which another living one diverged from it (D3): what is
// older the two may share, what is newer it has alone. Maps that are not in the result share with
// nobody. Rows that no living map descends from are taken out of the lineage.
std::unordered_map<MapId, Sequence> newest_divergences(Lineage& lineage,
                                                       const std::vector<MapId>& living);

}  // namespace lamina
