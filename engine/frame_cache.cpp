// SPDX-License-Identifier: Apache-2.0
#include "engine/frame_cache.h"

#include <utility>

namespace lamina {

FramePtr FrameCache::find(Generation generation, uint32_t frame) {
  Lock lock(mutex_);
  const auto found = frames_.find(key(generation, frame));
  if (found == frames_.end()) return nullptr;
  order_.splice(order_.begin(), order_, found->second.place);
  return found->second.frame;
}

void FrameCache::put(Generation generation, uint32_t frame, FramePtr content) {
  Lock lock(mutex_);
  const Key k = key(generation, frame);
  if (frames_.contains(k)) return;
  order_.push_front(k);
  frames_.emplace(k, Cached{order_.begin(), std::move(content)});
  while (frames_.size() > limit_) {
    frames_.erase(order_.back());
    order_.pop_back();
  }
}

void FrameCache::forget(Generation generation) {
  Lock lock(mutex_);
  for (auto at = order_.begin(); at != order_.end();) {
    if (*at >> 32 != raw(generation)) {
      ++at;
      continue;
    }
    frames_.erase(*at);
    at = order_.erase(at);
  }
}

size_t FrameCache::bytes() const {
  Lock lock(mutex_);
  return frames_.size() * frame_bytes;
}

}  // namespace lamina
