// SPDX-License-Identifier: Apache-2.0
#include "base/workers.h"

#include <algorithm>
#include <utility>

namespace lamina {

void Pieces::start(Workers* workers, size_t count, std::function<void(size_t, size_t)> piece) {
  piece_ = std::move(piece);
  count_ = count;
  const size_t jobs = workers ? std::min<size_t>(workers->count(), count) : 0;
  working_ = std::max<size_t>(jobs, 1);
  // The last of them may end it, and this with it, as soon as it is started.
  for (size_t job = 0; job < jobs; ++job) workers->start([this, job] { work(job); });
  if (jobs == 0) work(0);
}

void Pieces::work(size_t worker) {
  for (size_t at = next_++; at < count_; at = next_++) piece_(at, worker);
  if (--working_ == 0) done_.signal();
}

}  // namespace lamina
