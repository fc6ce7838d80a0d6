// SPDX-License-Identifier: Apache-2.0
#include "engine/space/moved_parts.h"

#include <algorithm>
#include <utility>

namespace lamina {

void MovedParts::finish() {
  std::sort(parts_.begin(), parts_.end(), [](const Part& a, const Part& b) {
    return std::pair(a.from, a.order) < std::pair(b.from, b.order);
  });
  std::vector<Part> apart;
  apart.reserve(parts_.size());
  blocks_ = 0;
  for (Part part : parts_) {
    if (!apart.empty() && apart.back().from.generation == part.from.generation) {
      const uint32_t end = apart.back().from.block + apart.back().blocks;
      const uint32_t covered = end - std::min(end, part.from.block);
      if (covered >= part.blocks) continue;
      part.from.block += covered;
      part.blocks -= covered;
      part.order += covered;
    }
    blocks_ += part.blocks;
    apart.push_back(part);
  }
  parts_ = std::move(apart);
}

std::set<Generation> MovedParts::segments() const {
  std::set<Generation> all;
  for (const Part& part : parts_) all.insert(all.end(), part.from.generation);
  return all;
}

std::span<const MovedParts::Part> MovedParts::of(Generation generation) const {
  const auto begin = std::partition_point(parts_.begin(), parts_.end(), [&](const Part& part) {
    return part.from.generation < generation;
  });
  const auto end = std::partition_point(
      begin, parts_.end(), [&](const Part& part) { return part.from.generation == generation; });
  return {begin, end};
}

bool MovedParts::overlaps(Address at, uint64_t blocks) const {
  const auto next = std::partition_point(parts_.begin(), parts_.end(), [&](const Part& part) {
    return part.from.generation < at.generation ||
           (part.from.generation == at.generation && part.from.block + part.blocks <= at.block);
  });
  return next != parts_.end() && next->from.generation == at.generation &&
         next->from.block < at.block + blocks;
}

}  // namespace lamina
