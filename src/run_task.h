// SPDX-License-Identifier: Apache-2.0
// One coroutine run to its end on a loop of its own: what offline subcommands do.
// Thread-safety: one thread. Errors: unsupported, where io_uring is not to be had; those of the
// task.
#pragma once

#include <functional>

#include "base/result.h"
#include "base/task.h"
#include "blobs/uring_loop.h"

namespace lamina {

template <class T>
Result<T> run_task(const std::function<Task<Result<T>>()>& begin) {
  auto loop = UringLoop::create({});
  if (!loop) return forward_error(loop);
  return (*loop)->run_until(begin());
}

}  // namespace lamina
