// SPDX-License-Identifier: Apache-2.0
#include "fuse/request_slots.h"

#include <sys/mman.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace lamina {
namespace {

constexpr size_t large_bytes = RequestSlots::page + RequestSlots::large_room;
constexpr size_t small_bytes = RequestSlots::page + RequestSlots::small_room;
constexpr uint32_t min_large = 4;
// The share of small slots: 512 of them beside 45 large ones in 64 MiB, so that the depth of
// several guests fits (a loop device alone has 128).
constexpr size_t small_share_percent = 28;

}  // namespace

Result<RequestSlots> RequestSlots::create(size_t bytes) {
  RequestSlots slots;
  slots.small_count_ = static_cast<uint32_t>(bytes * small_share_percent / 100 / small_bytes);
  const size_t rest = bytes - slots.small_count_ * small_bytes;
  slots.large_count_ = std::max(static_cast<uint32_t>(rest / large_bytes), min_large);
  slots.bytes_ = slots.large_count_ * large_bytes + slots.small_count_ * small_bytes;
  void* memory = mmap(nullptr, slots.bytes_, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED)
    return fail(Code::no_memory, "cannot reserve memory for requests; lower memory.requests");
  slots.memory_ = static_cast<std::byte*>(memory);
  (void)madvise(memory, slots.bytes_, MADV_HUGEPAGE);  // a hint: fewer pages for the kernel to pin
  for (uint32_t i = slots.large_count_; i-- > 0;) slots.free_large_.push_back(i);
  for (uint32_t i = slots.small_count_; i-- > 0;) slots.free_small_.push_back(i);
  return slots;
}

RequestSlots::RequestSlots(RequestSlots&& other) noexcept
    : memory_(std::exchange(other.memory_, nullptr)),
      bytes_(other.bytes_),
      large_count_(other.large_count_),
      small_count_(other.small_count_),
      free_large_(std::move(other.free_large_)),
      free_small_(std::move(other.free_small_)),
      resting_(std::move(other.resting_)) {}

RequestSlots::~RequestSlots() {
  if (memory_ != nullptr) munmap(memory_, bytes_);
}

RequestSlots::Slot RequestSlots::large(uint32_t number) const {
  LAMINA_CHECK(number < large_count_);
  return {memory_ + number * large_bytes + page, number, false};
}

RequestSlots::Slot RequestSlots::small(uint32_t number) const {
  LAMINA_CHECK(number < small_count_);
  return {memory_ + large_count_ * large_bytes + number * small_bytes + page, number, true};
}

void RequestSlots::wake(uint32_t submitted) {
  // Positions wrap, so they are compared by their difference.
  while (!resting_.empty() && static_cast<int32_t>(submitted - resting_.front().position) >= 0) {
    const Slot slot = resting_.front().slot;
    (slot.small ? free_small_ : free_large_).push_back(slot.number);
    resting_.pop_front();
  }
}

bool RequestSlots::has_large(uint32_t submitted) {
  wake(submitted);
  return !free_large_.empty();
}

bool RequestSlots::has_small(uint32_t submitted) {
  wake(submitted);
  return !free_small_.empty();
}

RequestSlots::Slot RequestSlots::take_large() {
  LAMINA_CHECK(!free_large_.empty());
  const uint32_t number = free_large_.back();
  free_large_.pop_back();
  return large(number);
}

RequestSlots::Slot RequestSlots::take_small() {
  LAMINA_CHECK(!free_small_.empty());
  const uint32_t number = free_small_.back();
  free_small_.pop_back();
  return small(number);
}

}  // namespace lamina
