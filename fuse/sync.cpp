// SPDX-License-Identifier: Apache-2.0
// FSYNC, FSYNCDIR. The kernel holds the inode's lock meanwhile, so that new writes of that device
// wait for as long as this takes.
#include "fuse/file_system.h"

namespace lamina {

Task<void> FileSystem::sync(Request& request) {
  const std::optional<DeviceId> device = inode_device(request.inode());
  if (!device) co_return;
  Task<Result<>> flushing = pool_.flush(*device);
  const Result<> flushed = co_await flushing;
  if (!flushed) request.fail(flushed.error());
}

Task<void> FileSystem::sync_directory(Request& request) {
  Task<Result<>> syncing = pool_.sync();
  const Result<> synced = co_await syncing;
  if (!synced) request.fail(synced.error());
}

}  // namespace lamina
