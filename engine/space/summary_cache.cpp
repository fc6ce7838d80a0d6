// SPDX-License-Identifier: Apache-2.0
#include "engine/space/summary_cache.h"

#include <algorithm>
#include <utility>

#include "engine/space/read_summary.h"

namespace lamina {

EntryAges::EntryAges(const std::vector<Entry>& entries) {
  for (const Entry& entry : entries)
    if (entry.kind == EntryKind::write)
      rows_.push_back(
          {entry.offset, entry.offset + static_cast<uint32_t>(entry.length.value), entry.sequence});
  std::sort(rows_.begin(), rows_.end(),
            [](const Row& a, const Row& b) { return a.begin < b.begin; });
}

uint64_t EntryAges::newer(uint64_t begin, uint64_t end, Sequence than) const {
  uint64_t count = 0;
  auto row = std::upper_bound(rows_.begin(), rows_.end(), begin,
                              [](uint64_t at, const Row& r) { return at < r.end; });
  for (; row != rows_.end() && row->begin < end; ++row)
    if (row->sequence > than)
      count += std::min<uint64_t>(end, row->end) - std::max<uint64_t>(begin, row->begin);
  return count;
}

SummaryCache::Ages SummaryCache::find(Generation generation) {
  Lock lock(mutex_);
  const auto found = std::find_if(known_.begin(), known_.end(), [&](const Known& known) {
    return known.generation == generation;
  });
  if (found == known_.end()) return nullptr;
  known_.splice(known_.begin(), known_, found);
  return found->ages;
}

void SummaryCache::keep(Generation generation, Ages ages) {
  Lock lock(mutex_);
  known_.push_front({generation, std::move(ages)});  // perhaps a second time: no harm
  if (known_.size() > most) known_.pop_back();
}

Task<Result<SummaryCache::Ages>> SummaryCache::ages(PoolState& pool, Generation generation) {
  if (Ages known = find(generation)) co_return known;
  auto summary = co_await read_summary(pool, generation);
  if (!summary) co_return forward_error(summary);
  auto ages = std::make_shared<const EntryAges>(summary->entries);
  keep(generation, ages);
  co_return ages;
}

}  // namespace lamina
