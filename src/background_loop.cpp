// SPDX-License-Identifier: Apache-2.0
#include "background_loop.h"

namespace lamina {

Result<std::unique_ptr<BackgroundLoop>> BackgroundLoop::start() {
  auto loop = UringLoop::create({});
  if (!loop) return forward_error(loop);
  return std::unique_ptr<BackgroundLoop>(new BackgroundLoop(std::move(*loop)));
}

BackgroundLoop::~BackgroundLoop() {
  loop_->stop();
  thread_.join();
}

}  // namespace lamina
