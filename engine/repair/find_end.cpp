// SPDX-License-Identifier: Apache-2.0
#include "engine/repair/find_end.h"

#include <algorithm>
#include <set>

namespace lamina {

Sequence find_end(Scan& scan) {
  std::vector<const ScannedRecord*> records;
  for (const ScannedRecord& record : scan.records)
    if (record.last > scan.durable && !is_void(scan.cuts, record.epoch, record.first))
      records.push_back(&record);
  std::ranges::sort(records, {}, &ScannedRecord::first);
  Sequence end = scan.durable;
  for (const ScannedRecord* record : records) {
    if (record->last <= end) continue;
    if (record->first > end + 1 || !record->whole) break;
    end = record->last;
  }
  scan.cuts.push_back({scan.epoch, end});
  const size_t before = scan.entries.size();
  std::erase_if(scan.entries, [end](const ScannedEntry& s) { return s.entry.sequence > end; });
  scan.void_entries += before - scan.entries.size();
  return end;
}

MissingEntries missing_entries(const Scan& scan, Sequence end) {
  const Sequence cut = scan.tables.cut;
  std::set<Sequence> there;
  for (const ScannedEntry& s : scan.entries)
    if (s.entry.sequence > cut && scan.segments[s.segment].header.kind == SegmentClass::log)
      there.insert(s.entry.sequence);
  MissingEntries missing{end - cut - there.size(), 0};
  if (missing.count == 0) return missing;
  missing.last = end;
  for (auto at = there.rbegin(); at != there.rend() && *at == missing.last; ++at) --missing.last;
  return missing;
}

}  // namespace lamina
