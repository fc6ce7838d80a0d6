// SPDX-License-Identifier: Apache-2.0
// Several coroutines that share one list of work, so that many waits overlap: reads of scattered
// places, above all.
// Thread-safety: of the executor that in_lanes() is awaited on; `work` runs there, too.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>

#include "base/executor.h"
#include "base/task.h"

namespace lamina {
namespace detail {

struct Lanes {
  Lanes(size_t items, size_t lanes, std::function<Task<void>(size_t)> each)
      : count(items), left(lanes), work(std::move(each)) {}
  const size_t count;
  std::atomic<size_t> next{0}, left;
  const std::function<Task<void>(size_t)> work;
  Completion done;
};

inline Task<void> lane(std::shared_ptr<Lanes> lanes) {
  for (;;) {
    const size_t item = lanes->next.fetch_add(1);
    if (item >= lanes->count) break;
    Task<void> working = lanes->work(item);
    co_await working;
  }
  if (lanes->left.fetch_sub(1) == 1) lanes->done.signal();
}

}  // namespace detail

// Does work(i) for each i below `count`, at most `lanes` of them at a time, roughly in order; ends
// when all have.
inline Task<void> in_lanes(size_t count, size_t lanes, std::function<Task<void>(size_t)> work) {
  if (count == 0) co_return;
  if (lanes > count) lanes = count;
  const auto shared = std::make_shared<detail::Lanes>(count, lanes, std::move(work));
  for (size_t i = 0; i < lanes; ++i) spawn(detail::lane(shared));
  co_await shared->done;
}

}  // namespace lamina
