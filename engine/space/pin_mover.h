// SPDX-License-Identifier: Apache-2.0
// Brings what pinned devices have elsewhere to their tier: down however young it is, up as far as
// the tier keeps free what its policy says. A batch at a time, in the order of the device,
// published by checkpoints like all that the mover does. Thread-safety: settle() by any number at a
// time. Memory: the parts of one batch each.
#pragma once

#include "base/mutex.h"
#include "base/task.h"
#include "engine/image.h"
#include "engine/space/move_plan.h"
#include "engine/space/pins.h"

namespace lamina {

class PoolState;

class PinMover {
 public:
  explicit PinMover(PoolState& pool) : pool_(pool) {}

  // Until everything that is settled lies where its pin says, or there is no room for it. Looks at
  // nothing where nothing has changed since it last found so.
  Task<Result<>> settle();

 private:
  Task<Result<MovePlan>> plan(ImagePtr image);
  Task<Result<MovePlan>> plan_for(ImagePtr image, Pin pin);
  uint64_t room(size_t from, size_t to) const;  // segments that a batch may fill

  PoolState& pool_;
  mutable Mutex mutex_;
  CheckpointNumber settled_ GUARDED_BY(mutex_) = 0;  // the content of that image was in place
  uint64_t pins_ GUARDED_BY(mutex_) = 0;             // their hash then
};

}  // namespace lamina
