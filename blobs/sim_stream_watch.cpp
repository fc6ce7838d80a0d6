// SPDX-License-Identifier: Apache-2.0
#include "blobs/sim_stream_watch.h"

#include <optional>
#include <utility>

namespace lamina {

void SimStreamWatch::watch(uint64_t offset, uint64_t length,
                           std::function<bool(uint32_t block)> excepted) {
  const uint64_t begin = offset >> block_shift, end = (offset + length) >> block_shift;
  regions_.insert_or_assign(begin, Region{end, begin, begin, std::move(excepted)});
}

void SimStreamWatch::unwatch_from(uint64_t offset) {
  regions_.erase(regions_.lower_bound(offset >> block_shift), regions_.end());
}

void SimStreamWatch::opened() {
  for (auto& [begin, region] : regions_) region.inherited = region.next;
}

std::string SimStreamWatch::write(uint64_t offset, uint64_t length,
                                  const std::function<bool()>& repeats) {
  const uint64_t end = (offset + length) >> block_shift;
  std::optional<bool> repeated;
  for (uint64_t block = offset >> block_shift; block < end; ++block) {
    auto at = regions_.upper_bound(block);
    if (at == regions_.begin()) continue;
    auto& [begin, region] = *--at;
    if (block >= region.end) continue;
    const auto within = static_cast<uint32_t>(block - begin);
    if (region.excepted && region.excepted(within)) continue;
    if (block < region.inherited) {
      if (!repeated) repeated = repeats();
      if (*repeated) continue;
    }
    if (block < region.next)
      return "block " + std::to_string(within) + " of the segment at block " +
             std::to_string(begin) + " is written again, or out of order: block " +
             std::to_string(region.next - 1 - begin) + " was written before";
    region.next = block + 1;
  }
  return {};
}

void SimStreamWatch::discard(uint64_t offset, uint64_t length) {
  const uint64_t first = offset >> block_shift, end = (offset + length) >> block_shift;
  for (auto at = regions_.lower_bound(first); at != regions_.end() && at->second.end <= end; ++at)
    at->second.next = at->second.inherited = at->first;
}

}  // namespace lamina
