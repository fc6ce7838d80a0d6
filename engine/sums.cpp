// SPDX-License-Identifier: Apache-2.0
#include "engine/sums.h"

#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/endian.h"

namespace lamina {

const uint32_t* Sums::page_of(Generation generation, uint32_t block) {
  if (const auto pinned = pinned_.find(raw(generation)); pinned != pinned_.end())
    return pinned->second->data() + block / page_blocks * page_blocks;
  const auto found = pages_.find(key(generation, block / page_blocks));
  if (found == pages_.end()) return nullptr;
  found->second.used = true;
  return found->second.sums.get();
}

bool Sums::get(Address address, std::span<uint32_t> out) {
  Lock lock(mutex_);
  const uint32_t* page = nullptr;
  for (size_t i = 0; i < out.size(); ++i) {
    const uint32_t block = address.block + static_cast<uint32_t>(i);
    if (!page || block % page_blocks == 0) page = page_of(address.generation, block);
    if (!page) return false;
    out[i] = page[block % page_blocks];
  }
  return true;
}

bool Sums::has(Address address) {
  Lock lock(mutex_);
  return page_of(address.generation, address.block) != nullptr;
}

bool Sums::pinned(Address address) {
  Lock lock(mutex_);
  return pinned_.contains(raw(address.generation));
}

void Sums::put(Generation generation, uint32_t page, std::span<const std::byte> block) {
  LAMINA_CHECK(block.size() == block_size);
  auto sums = std::make_unique_for_overwrite<uint32_t[]>(page_blocks);
  for (uint32_t i = 0; i < page_blocks; ++i) {
    le32 value;
    std::memcpy(value.bytes.data(), block.data() + i * 4, 4);
    sums[i] = value.load();
  }
  Lock lock(mutex_);
  const Key k = key(generation, page);
  if (pages_.contains(k) || limit_ == 0) return;
  while (pages_.size() >= limit_) make_room();
  order_.push_front(k);
  pages_.emplace(k, Page{order_.begin(), std::move(sums)});
}

// A second chance for what was used since it came, or since its last one: a look-up moves nothing.
void Sums::make_room() {
  const auto oldest = pages_.find(order_.back());
  if (std::exchange(oldest->second.used, false)) {
    order_.splice(order_.begin(), order_, oldest->second.place);
    return;
  }
  pages_.erase(oldest);
  order_.pop_back();
}

void Sums::pin(Generation generation, SegmentSums sums) {
  Lock lock(mutex_);
  pinned_[raw(generation)] = std::move(sums);
}

void Sums::unpin(Generation generation) {
  Lock lock(mutex_);
  pinned_.erase(raw(generation));
}

void Sums::forget(Generation generation, uint32_t segment_blocks) {
  Lock lock(mutex_);
  for (uint32_t page = 0; page * page_blocks < segment_blocks; ++page) drop(generation, page);
}

void Sums::forget_page(Generation generation, uint32_t page) {
  Lock lock(mutex_);
  drop(generation, page);
}

void Sums::drop(Generation generation, uint32_t page) {
  const auto found = pages_.find(key(generation, page));
  if (found == pages_.end()) return;
  order_.erase(found->second.place);
  pages_.erase(found);
}

size_t Sums::bytes() const {
  Lock lock(mutex_);
  return pages_.size() * entry_bytes;
}

}  // namespace lamina
