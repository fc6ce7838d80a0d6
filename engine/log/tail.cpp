// SPDX-License-Identifier: Apache-2.0
#include "engine/log/tail.h"

#include <cstring>

namespace lamina {

void Tail::add(std::shared_ptr<TailSegment> segment) {
  Lock lock(mutex_);
  const uint32_t generation = raw(segment->name.generation);
  segments_[generation] = std::move(segment);
}

void Tail::remove(Generation generation) {
  Lock lock(mutex_);
  segments_.erase(raw(generation));
}

bool Tail::copy(Address address, std::span<std::byte> into) const {
  std::shared_ptr<TailSegment> segment;
  {
    Lock lock(mutex_);
    const auto found = segments_.find(raw(address.generation));
    if (found == segments_.end()) return false;
    segment = found->second;
  }
  std::memcpy(into.data(), segment->memory.data() + uint64_t{address.block} * block_size,
              into.size());
  return true;
}

std::shared_ptr<const TailSegment> Tail::find(Generation generation) const {
  Lock lock(mutex_);
  const auto found = segments_.find(raw(generation));
  return found == segments_.end() ? nullptr : found->second;
}

size_t Tail::segments() const {
  Lock lock(mutex_);
  return segments_.size();
}

}  // namespace lamina
