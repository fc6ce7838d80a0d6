// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <set>

#include "base/units.h"
#include "fuse/request_slots.h"

namespace lamina {
namespace {

using Slot = RequestSlots::Slot;

RequestSlots make(size_t bytes) {
  auto slots = RequestSlots::create(bytes);
  EXPECT_TRUE(slots);
  return std::move(*slots);
}

TEST(RequestSlots, TakeNoMoreMemoryThanTheyAreGiven) {
  const RequestSlots slots = make(64 * mib);
  const size_t bytes = slots.large_count() * (RequestSlots::page + RequestSlots::large_room) +
                       slots.small_count() * (RequestSlots::page + RequestSlots::small_room);
  EXPECT_LE(bytes, 64 * mib);
  EXPECT_GE(bytes, 62 * mib);
  EXPECT_GE(slots.large_count(), 32u);
  EXPECT_GE(slots.small_count(), 256u);
}

TEST(RequestSlots, PayloadIsPageAligned) {
  RequestSlots slots = make(8 * mib);
  while (slots.has_large(0)) {
    const Slot slot = slots.take_large();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(slot.room) % 4096, 0u);
    EXPECT_EQ(RequestSlots::request_begin(slot) + RequestSlots::head, slot.room);
    EXPECT_EQ(slots.large(slot.number).room, slot.room);
  }
  while (slots.has_small(0))
    EXPECT_EQ(reinterpret_cast<uintptr_t>(slots.take_small().room) % 4096, 0u);
}

TEST(RequestSlots, NoTwoOverlap) {
  RequestSlots slots = make(8 * mib);
  std::set<const std::byte*> ends;
  auto check = [&](const Slot& slot) {
    const std::byte* begin = slot.room - RequestSlots::page;
    const std::byte* end = slot.room + RequestSlots::room(slot).size();
    const auto next = ends.upper_bound(begin);
    if (next != ends.end()) {
      EXPECT_GE(*next, end);
    }
    EXPECT_TRUE(ends.insert(end).second);
    slot.room[RequestSlots::room(slot).size() - 1] = std::byte{1};  // and it is ours
  };
  while (slots.has_large(0)) check(slots.take_large());
  while (slots.has_small(0)) check(slots.take_small());
}

TEST(RequestSlots, ASlotRestsUntilItsReplyHasLeft) {
  RequestSlots slots = make(8 * mib);
  while (slots.has_small(0)) slots.put_back(slots.take_small(), 5);
  EXPECT_FALSE(slots.has_small(4));
  EXPECT_TRUE(slots.any_resting());
  EXPECT_TRUE(slots.has_small(5));
  EXPECT_FALSE(slots.any_resting());
}

TEST(RequestSlots, PositionsMayWrap) {
  RequestSlots slots = make(8 * mib);
  while (slots.has_large(UINT32_MAX - 8)) slots.put_back(slots.take_large(), 2);
  EXPECT_FALSE(slots.has_large(UINT32_MAX));
  EXPECT_FALSE(slots.has_large(1));
  EXPECT_TRUE(slots.has_large(2));
}

TEST(RequestSlots, TheOnePutBackLastIsTakenFirst) {
  RequestSlots slots = make(8 * mib);
  const Slot first = slots.take_large(), second = slots.take_large();
  slots.put_back(second, 0);
  slots.put_back(first, 0);
  ASSERT_TRUE(slots.has_large(0));
  EXPECT_EQ(slots.take_large().number, first.number);
}

TEST(RequestSlots, EvenASmallBudgetCarriesLargeRequests) {
  RequestSlots slots = make(1 * mib);
  EXPECT_GE(slots.large_count(), 4u);
}

}  // namespace
}  // namespace lamina
