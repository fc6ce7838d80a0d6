// SPDX-License-Identifier: Apache-2.0
// The bounded memory that requests live in from their arrival to the end of their reply. A full
// house is back-pressure: what is not free is not offered to the kernel.
//
// A slot is one page and then its room: the request's header ends where the room begins, so that
// the payload of a WRITE is page aligned, and a reply's header goes into the 16 bytes before the
// room, so that a READ's data goes out from where the engine put it.
//
//   [ page ............ 80 B: READ or WRITE header ][ room: payload in, or reply's data out ]
//
// Large slots take requests from the kernel. What is small moves to a small slot at once, if there
// is one, so that waiting for a disk does not cost the mount its large ones.
// Thread-safety: one thread. Ownership: owns the memory; a slot taken is the taker's until put
// back. Units: bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "base/result.h"

namespace lamina {

class RequestSlots {
 public:
  struct Slot {
    std::byte* room = nullptr;  // page aligned
    uint32_t number = 0;        // among those of its kind
    bool small = false;
  };

  static constexpr size_t page = 4096;
  static constexpr size_t head = 80;  // of READ and WRITE alike
  static constexpr size_t large_room = 1u << 20;
  static constexpr size_t small_room = 32u << 10;

  // As many as fit; at least four large ones. Error no_memory.
  static Result<RequestSlots> create(size_t bytes);
  RequestSlots(RequestSlots&& other) noexcept;
  RequestSlots(const RequestSlots&) = delete;
  RequestSlots& operator=(const RequestSlots&) = delete;
  ~RequestSlots();

  uint32_t large_count() const { return large_count_; }
  uint32_t small_count() const { return small_count_; }

  // A reply leaves when the ring is submitted, and its slot rests until then: until the kernel has
  // taken the ring's submission queue up to `position`. `submitted` is how far it has. Both wrap.
  void put_back(Slot slot, uint32_t position) { resting_.push_back({slot, position}); }
  bool any_resting() const { return !resting_.empty(); }
  bool has_large(uint32_t submitted);
  bool has_small(uint32_t submitted);
  Slot take_large();  // the one put back last: its memory is warm
  Slot take_small();
  Slot large(uint32_t number) const;

  static std::byte* request_begin(const Slot& slot) { return slot.room - head; }
  static std::span<std::byte> room(const Slot& slot) {
    return {slot.room, slot.small ? small_room : large_room};
  }

 private:
  struct Resting {
    Slot slot;
    uint32_t position;
  };
  RequestSlots() = default;
  Slot small(uint32_t number) const;
  void wake(uint32_t submitted);

  std::byte* memory_ = nullptr;
  size_t bytes_ = 0;
  uint32_t large_count_ = 0, small_count_ = 0;
  std::vector<uint32_t> free_large_, free_small_;
  std::deque<Resting> resting_;  // at most all slots, in the order of their positions
};

}  // namespace lamina
