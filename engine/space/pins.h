// SPDX-License-Identifier: Apache-2.0
// Pins: a device's data is to lie in the tier of one blob. A pin is an attribute of the device,
// kept in the log and the tables with the others, and never listed. A clone has its source's, as it
// goes on being the same kind of disk; a read-only snapshot has none, since what it alone holds may
// as well go.
//
// What a pinned device has in its tier, or below, does not age away from there, be it shared with
// others; what it has elsewhere is brought there (pin_mover.h). D9: a pin is a preference. Where
// users have less than the low mark free in a tier and nothing else is left to age, pinned data
// ages like any other, and comes back when there is room again.
// Thread-safety: functions of the pool, from any thread.
#pragma once

#include <string_view>
#include <vector>

#include "base/task.h"
#include "engine/image.h"
#include "engine/space/moved_parts.h"
#include "engine/space/walk.h"

namespace lamina {

class PoolState;

// Its value is the blob's name. None: the device is not pinned.
inline constexpr std::string_view tier_attribute = "user.lamina.tier";

struct Pin {
  DeviceId device = DeviceId::none;
  MapId map = MapId::none;
  size_t tier = 0;
};
// Of all devices; those whose blob is not there (any more) are none.
std::vector<Pin> pins_of(PoolState& pool);
// Another one, almost certainly, where they are others; of none, 0.
uint64_t hash_of(const std::vector<Pin>& pins);

// Counts in each segment what is not to age away (Segment::pinned). Memory: 32 MiB; the maps are
// read as often as it takes. Error: a map could not be read.
Task<Result<>> count_pinned(PoolState& pool, ImagePtr image);

// Of what a walk found alive in these segments of a tier, what may age: all but what is pinned.
Task<Result<MovedParts>> not_pinned(PoolState& pool, ImagePtr image, const WalkResult& walked,
                                    std::set<Generation> segments);

}  // namespace lamina
