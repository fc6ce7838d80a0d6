// SPDX-License-Identifier: Apache-2.0
// When the pool is walked, and what becomes of what a walk finds: what is used (D2), what each
// device has alone, and whether it still shares at all (D3).
//
// One walk at a time (A7), in a round of the Reclaimer; it serves everybody who wants to know
// something. A walk for figures holds an image, and so space that dies meanwhile: where space gets
// short it is given up, and made again later as part of a round that looks for space, which is not.
// An image that was walked whole is not walked again for what is known of it.
// Thread-safety: all methods from any thread; walk() by one round at a time.
#pragma once

#include <memory>
#include <set>

#include "base/mutex.h"
#include "base/task.h"
#include "base/waiters.h"
#include "engine/image.h"
#include "engine/pool.h"
#include "engine/space/walk.h"

namespace lamina {

class PoolState;

class Walker {
 public:
  explicit Walker(PoolState& pool) : pool_(pool) {}

  // Error busy: it was given up. Any other: a node could not be read, and nothing may be freed
  // (A8). `for_space`: it is not given up. `figures`: what devices have alone is to be told; it is
  // also where somebody asks for it.
  struct Wanted {
    std::set<Generation> segments;
    std::shared_ptr<const MovedParts> parts;  // of them; null: all
  };
  Task<Result<WalkResult>> walk(ImagePtr image, Wanted wanted, bool for_space, bool figures);
  // Somebody waits for space, which the walk under way may hold.
  void press();

  // Whether figures of images of that content, or of newer ones, are known.
  bool knows(CheckpointNumber content) const;
  // A walk that takes long is not made all the time for what is shown only: until so long from now.
  uint64_t pause_ns() const;

  // What the newest walk for figures of this life found; null: none yet.
  std::shared_ptr<const SharedBlocks> shared() const;

  // Asks for figures of everything that has been done so far. They are there, or could not be got,
  // once `answered` is the number returned, or larger.
  uint64_t ask();
  uint64_t asked() const;
  void answer(uint64_t asked);

  WalkStatus status() const;

 private:
  Result<> go_on(bool for_space) const;
  void take_figures(const Image& image, const WalkResult& walked);

  PoolState& pool_;
  WalkProgress progress_;
  mutable Mutex mutex_;
  bool pressed_ GUARDED_BY(mutex_) = false;
  CheckpointNumber known_ GUARDED_BY(mutex_) = 0;
  std::shared_ptr<const SharedBlocks> shared_ GUARDED_BY(mutex_);
  uint64_t ended_ns_ GUARDED_BY(mutex_) = 0;
  WalkStatus status_ GUARDED_BY(mutex_);
};

}  // namespace lamina
