// SPDX-License-Identifier: Apache-2.0
#include "engine/space/facts.h"

#include <algorithm>

namespace lamina {
namespace {

bool is_fact(const Entry& entry) {
  switch (entry.kind) {
    case EntryKind::zero:
    case EntryKind::lost:
    case EntryKind::reserve:
    case EntryKind::alias:
      return true;
    default:
      return false;
  }
}

}  // namespace

Facts::Facts(std::span<const Entry> summary) {
  std::copy_if(summary.begin(), summary.end(), std::back_inserter(entries_), is_fact);
}

// The newest entry of this home that the map sees states each part of it: were there a newer one
// elsewhere, the map would have another home.
Result<std::vector<Entry>> Facts::of(const Extent& extent, const std::vector<Sight>& sights) const {
  std::vector<const Entry*> seen;
  for (const Entry& entry : entries_)
    for (const Sight& sight : sights)
      if (entry.map == sight.map && entry.sequence <= sight.limit && entry.begin < extent.end &&
          extent.begin < entry.begin + entry.length)
        seen.push_back(&entry);
  std::vector<Entry> parts;
  for (DeviceBlock at = extent.begin; at < extent.end;) {
    const Entry* states = nullptr;
    for (const Entry* entry : seen)
      if (entry->begin <= at && at < entry->begin + entry->length &&
          (!states || entry->sequence > states->sequence))
        states = entry;
    // What an alias shared may be gone (B2).
    const bool alias = states && states->kind == EntryKind::alias;
    const bool gone = alias && extent.kind == ExtentKind::lost;
    if (!states || (alias && !gone) != extent.alias)
      return fail(Code::corrupt, "a summary does not know a fact whose home it is");
    DeviceBlock until = std::min(extent.end, states->begin + states->length);
    for (const Entry* entry : seen)
      if (entry->sequence > states->sequence && at < entry->begin)
        until = std::min(until, entry->begin);
    Entry part = *states;
    part.begin = at;
    part.length = until - at;
    if (gone) {
      part.kind = EntryKind::lost;
      part.address = {};
      part.source_map = MapId::none;
    }
    if (extent.alias) part.address = states->address + (at - states->begin);
    parts.push_back(std::move(part));
    at = until;
  }
  return parts;
}

bool merge_zero(Entry& zero, Sequence& smallest, const Entry& next, const Lineage& lineage) {
  if (zero.kind != EntryKind::zero || next.kind != zero.kind || next.map != zero.map ||
      next.begin != zero.begin + zero.length)
    return false;
  const Sequence low = std::min(smallest, next.sequence);
  const Sequence high = std::max(zero.sequence, next.sequence);
  if (forked_between(lineage, zero.map, low, high)) return false;
  smallest = low;
  zero.sequence = high;
  zero.length = (next.begin + next.length) - zero.begin;
  return true;
}

}  // namespace lamina
