// SPDX-License-Identifier: Apache-2.0
// READ: the engine fills the reply's room, which leaves as it is.
#include "fuse/file_system.h"

namespace lamina {

Task<void> FileSystem::read(Request& request) {
  const fuse_read_in* in = request.argument<fuse_read_in>();
  if (in == nullptr || in->size > request.room.size()) co_return request.fail(EINVAL);
  const std::optional<DeviceId> device = inode_device(request.inode());
  if (!device) co_return read_virtual(request);
  const std::span<std::byte> into = request.room.first(in->size);
  Task<Result<size_t>> reading = pool_.read(*device, in->offset, into);
  const Result<size_t> bytes = co_await reading;
  if (!bytes) co_return request.fail(bytes.error());
  request.reply_bytes = *bytes;
}

}  // namespace lamina
