// SPDX-License-Identifier: Apache-2.0
#include "engine/torn_slots.h"

#include "engine/roll_forward.h"
#include "engine/slots.h"

namespace lamina {

Task<std::set<uint64_t>> torn_slots(Blobs blobs, Secret secret) {
  std::set<uint64_t> places;
  auto slots = co_await find_slots(blobs, secret);
  if (!slots) co_return places;
  const Slot& newest = slots->front();
  RollForward forward(members_of(newest, blobs), secret, newest);
  const RollForward::Apply nothing = [](const Entry&, Generation, uint64_t,
                                        std::span<const std::byte>) { return Result<>{}; };
  const Result<> rolled = co_await forward.run(nothing);
  if (!rolled) co_return places;
  const RollForward::End& end = forward.end();
  if (newest.clean && end.nothing_follows && end.epoch == newest.epoch) co_return places;
  const CheckpointNumber committed = forward.committed();
  // Where the next life's first slot goes too, whichever number it has (next_checkpoint).
  if (committed <= newest.number) places.insert((newest.number + 1) % slot_ring_length);
  if (committed < newest.number) places.insert(newest.number % slot_ring_length);
  co_return places;
}

}  // namespace lamina
