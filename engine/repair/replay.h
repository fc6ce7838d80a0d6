// SPDX-License-Identifier: Apache-2.0
// The maps of a pool made again from all entries that were found, as its log made them: in the
// order of their numbers, each map forked from its parent at the entry where it was. So what maps
// had in common they have in common again, and a snapshot costs no more than before.
// Thread-safety: one thread. Memory: some 40 bytes an extent of all maps together.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "engine/lineage.h"
#include "engine/rebuild_scan.h"
#include "engine/thin_map.h"

namespace lamina {

struct ReplayedMap {
  MapId map = MapId::none;
  DeviceId device = DeviceId::none;
};

// Of the `wanted` maps, by id; those that they descend from are made on the way. What an alias
// shares and no segment has is lost: the newest entry wins, whether or not its data is there (B2).
// `entries` are sorted by their numbers.
std::unordered_map<MapId, std::shared_ptr<ThinMap>> replay_maps(
    const Scan& scan, const Lineage& lineage, const std::vector<ReplayedMap>& wanted,
    const ImagePtr& image);

// Whether an entry says what a range of a map is.
bool states_a_range(const Entry& entry);

// What the scan's entries say of one range of a map: its extents, in order. A zero that hides
// nothing that any of them states is left out (F9). `nodes` is not looked into.
std::vector<Extent> replay_range(const Scan& scan, const Lineage& lineage, MapId map,
                                 BlockRange range, NodeStore& nodes);

}  // namespace lamina
