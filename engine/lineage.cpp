// SPDX-License-Identifier: Apache-2.0
#include "engine/lineage.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace lamina {
namespace {

std::unordered_map<MapId, LineageRow> by_map(const Lineage& lineage) {
  std::unordered_map<MapId, LineageRow> rows;
  for (const LineageRow& row : lineage) rows[row.map] = row;
  return rows;
}

// The rows as a forest, of what living maps descend from alone.
class Family {
 public:
  Family(Lineage& lineage, const std::vector<MapId>& living)
      : living_(living.begin(), living.end()) {
    const std::unordered_map<MapId, LineageRow> rows = by_map(lineage);
    for (MapId map : living) {
      // Up to what another living map has been followed through already.
      for (auto row = rows.find(map); row != rows.end() && parents_.insert(*row).second;
           row = rows.find(row->second.parent)) {
      }
    }
    std::erase_if(lineage, [this](const LineageRow& row) { return !parents_.contains(row.map); });
    for (const auto& [map, row] : parents_) children_[row.parent].emplace_back(row.forked_at, map);
    for (auto& [map, children] : children_) std::sort(children.begin(), children.end());
  }

  // 0: nobody diverged from it.
  Sequence newest(MapId map) const {
    if (const auto own = children_.find(map); own != children_.end())
      return own->second.back().first;
    // Its line is that of each ancestor up to where the next one was forked off it. Who came off an
    // ancestor later diverged there; the nearest ancestor has the newest.
    for (auto row = parents_.find(map); row != parents_.end();
         row = parents_.find(row->second.parent)) {
      const Sequence forked_at = row->second.forked_at;
      if (living_.contains(row->second.parent)) return forked_at;
      const Children& siblings = children_.at(row->second.parent);
      if (siblings.back().second != row->first) return forked_at;
      if (siblings.size() > 1) return siblings[siblings.size() - 2].first;
    }
    return 0;
  }

 private:
  using Children = std::vector<std::pair<Sequence, MapId>>;  // by where they were forked
  std::unordered_set<MapId> living_;
  std::unordered_map<MapId, LineageRow> parents_;
  std::unordered_map<MapId, Children> children_;
};

}  // namespace

bool forked_between(const Lineage& lineage, MapId map, Sequence low, Sequence high) {
  return std::any_of(lineage.begin(), lineage.end(), [&](const LineageRow& row) {
    return row.parent == map && low <= row.forked_at && row.forked_at < high;
  });
}

std::vector<Sight> sights(const Lineage& lineage, MapId map) {
  const std::unordered_map<MapId, LineageRow> rows = by_map(lineage);
  std::vector<Sight> out{{map, UINT64_MAX}};
  for (auto row = rows.find(map); row != rows.end(); row = rows.find(row->second.parent))
    out.push_back({row->second.parent, std::min(out.back().limit, row->second.forked_at)});
  return out;
}

DivergencesFrom::DivergencesFrom(const Lineage& lineage, MapId map) : rows_(by_map(lineage)) {
  for (const Sight& sight : sights(lineage, map)) sees_.emplace(sight.map, sight.limit);
}

Sequence DivergencesFrom::operator()(MapId other) const {
  for (Sequence limit = UINT64_MAX;;) {
    if (const auto common = sees_.find(other); common != sees_.end())
      return std::min(common->second, limit);
    const auto row = rows_.find(other);
    if (row == rows_.end()) return 0;
    limit = std::min(limit, row->second.forked_at);
    other = row->second.parent;
  }
}

std::unordered_map<MapId, Sequence> newest_divergences(Lineage& lineage,
                                                       const std::vector<MapId>& living) {
  const Family family(lineage, living);
  std::unordered_map<MapId, Sequence> newest;
  for (MapId map : living)
    if (const Sequence at = family.newest(map); at > 0) newest[map] = at;
  return newest;
}

}  // namespace lamina
