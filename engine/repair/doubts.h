// SPDX-License-Identifier: Apache-2.0
// What a repair cannot know to be the newest (B2): ranges of maps that something may have stated
// which nobody can tell any more. They are suspect: EIO until a person accepts what was found
// there, or something is written.
//
// What bounds them:
//   Of a segment that is gone, and was settled before the newest tables' cut, or of a record in it,
//   the maps of that checkpoint say which ranges refer to its data: those are in doubt, and those
//   whose leaf is gone too (engine/repair/tree_witness.h).
//   Of numbers of the log that are nowhere nothing says what they were: every map that there was
//   then is in doubt as a whole.
//   What an entry states that is newer than all of that is not in doubt, and a fork inherits: all
//   of it, where nothing tells of what it was made from.
// Thread-safety: pure functions. Memory: the ranges.
#pragma once

#include <map>
#include <vector>

#include "engine/rebuild.h"
#include "engine/repair/find_end.h"
#include "engine/repair/tree_witness.h"

namespace lamina {

using Doubts = std::map<MapId, std::vector<BlockRange>>;

// Every map that there was when the entry with this number was made is in doubt; 0: none is.
// `untold`: segments whose contents are gone; `end`: the newest entry that counts; `gone_on`:
// something may have come behind it.
Sequence doubted_through(const Scan& scan, const std::vector<SegmentName>& untold,
                         const MissingEntries& missing, Sequence end, bool gone_on);

// Of the maps of all devices, those that are in doubt somewhere; to it belongs what the tables say
// of an earlier repair.
Doubts find_doubts(const Rebuilt& rebuilt, const DoubtedByTrees& by_trees,
                   Sequence doubted_through);

}  // namespace lamina
