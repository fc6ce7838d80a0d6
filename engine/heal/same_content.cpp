// SPDX-License-Identifier: Apache-2.0
#include "engine/heal/same_content.h"

#include <algorithm>
#include <iterator>

namespace lamina {

WrittenBy::WrittenBy(const Scan& scan) {
  for (const ScannedEntry& one : scan.entries)
    if (one.entry.kind == EntryKind::write)
      runs_[raw(scan.generation_of(one))][one.entry.offset] = {
          one.entry.offset + static_cast<uint32_t>(one.entry.length.value), one.entry.sequence,
          one.entry.map, one.entry.begin};
}

WrittenBy::Writer WrittenBy::find(Address address) const {
  const auto segment = runs_.find(raw(address.generation));
  if (segment == runs_.end()) return {};
  auto at = segment->second.upper_bound(address.block);
  if (at == segment->second.begin()) return {};
  --at;
  const Run& run = at->second;
  if (run.end <= address.block) return {};
  return {run.sequence, run.map, run.begin + BlockCount{address.block - at->first}};
}

bool WrittenBy::same(Address a, Address b) const {
  if (a == b) return true;
  const Writer first = find(a);
  return first.sequence != 0 && first == find(b);
}

bool same_content(BlockRange range, std::span<const Extent> a, std::span<const Extent> b,
                  const WrittenBy& written) {
  size_t i = 0, j = 0;
  for (DeviceBlock at = range.begin; at < range.end;) {
    while (i < a.size() && a[i].end <= at) ++i;
    while (j < b.size() && b[j].end <= at) ++j;
    const auto here = [at](std::span<const Extent> all, size_t index) {
      return index < all.size() && all[index].begin <= at ? &all[index] : nullptr;
    };
    const auto next = [&](std::span<const Extent> all, size_t index) {
      if (index == all.size()) return range.end;
      return all[index].begin <= at ? all[index].end : all[index].begin;
    };
    const Extent *x = here(a, i), *y = here(b, j);
    const ExtentKind first = x ? x->kind : ExtentKind::zero,
                     second = y ? y->kind : ExtentKind::zero;
    if (first != second) return false;
    if (first != ExtentKind::data) {
      at = std::min({next(a, i), next(b, j), range.end});
      continue;
    }
    // Block by block: what was one entry may lie in pieces.
    if (!written.same(x->address + (at - x->begin), y->address + (at - y->begin))) return false;
    at = at + BlockCount{1};
  }
  return true;
}

}  // namespace lamina
