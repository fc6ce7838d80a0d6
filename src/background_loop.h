// SPDX-License-Identifier: Apache-2.0
// A thread with a loop of its own, where a pool's checkpoints, walks and moves run beside the
// reactors. Thread-safety: executor() from any thread; the rest from the owner's.
// Ownership: starts and joins its thread; outlives whatever runs on it.
#pragma once

#include <memory>
#include <thread>

#include "base/result.h"
#include "blobs/uring_loop.h"

namespace lamina {

class BackgroundLoop {
 public:
  static Result<std::unique_ptr<BackgroundLoop>> start();
  ~BackgroundLoop();
  Executor& executor() { return *loop_; }

 private:
  explicit BackgroundLoop(std::unique_ptr<UringLoop> loop)
      : loop_(std::move(loop)), thread_([this] { loop_->run(); }) {}
  const std::unique_ptr<UringLoop> loop_;
  std::thread thread_;
};

}  // namespace lamina
