// SPDX-License-Identifier: Apache-2.0
#include "engine/space/shared_blocks.h"

#include <algorithm>
#include <utility>

namespace lamina {

void SharedBlocks::add(Generation generation, Bits shared) {
  if (shared.empty())
    none_shared_.push_back(raw(generation));
  else
    some_shared_[raw(generation)] = std::move(shared);
}

void SharedBlocks::finish(Sequence cut) {
  cut_ = cut;
  std::sort(none_shared_.begin(), none_shared_.end());
}

std::optional<uint64_t> SharedBlocks::alone(Address address, uint64_t blocks,
                                            Sequence last_share) const {
  if (last_share > cut_) return std::nullopt;
  const uint32_t generation = raw(address.generation);
  if (std::binary_search(none_shared_.begin(), none_shared_.end(), generation)) return blocks;
  const auto found = some_shared_.find(generation);
  if (found == some_shared_.end()) return std::nullopt;
  uint64_t alone = 0;
  for (uint64_t at = address.block; at < address.block + blocks; ++at)
    if ((found->second[at / 64] >> at % 64 & 1) == 0) ++alone;
  return alone;
}

}  // namespace lamina
