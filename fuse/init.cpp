// SPDX-License-Identifier: Apache-2.0
// INIT: what kernel and daemon agree on.
#include "fuse/file_system.h"

namespace lamina {

void FileSystem::init(Request& request) {
  // A kernel older than 7.36 sends less; what it does not send is zero.
  fuse_init_in in{};
  constexpr size_t oldest_bytes = offsetof(fuse_init_in, flags2);
  if (request.body.size() < oldest_bytes) return request.fail(EPROTO);
  std::memcpy(&in, request.body.data(), std::min(sizeof in, request.body.size()));
  if (in.major < FUSE_KERNEL_VERSION || (in.major == FUSE_KERNEL_VERSION && in.minor < 31))
    return request.fail(EPROTO);

  const Negotiation result = negotiate(in, options_.without, options_.transport);
  if (in.major > FUSE_KERNEL_VERSION) {
    // It asks again in the protocol that this reply names.
    fuse_init_out out{};
    out.major = FUSE_KERNEL_VERSION;
    out.minor = FUSE_KERNEL_MINOR_VERSION;
    return request.answer(out);
  }
  open_flags_ = open_flags(result.features.used);
  {
    Lock lock(mutex_);
    features_ = result.features;
  }
  request.answer(result.reply);
  if (options_.on_ready) options_.on_ready();
}

KernelFeatures FileSystem::features() const {
  Lock lock(mutex_);
  return features_;
}

}  // namespace lamina
