// SPDX-License-Identifier: Apache-2.0
// LSEEK: SEEK_DATA and SEEK_HOLE, a look-up in the map. The end of a device counts as a hole.
#include <unistd.h>

#include "fuse/file_system.h"

namespace lamina {

Task<void> FileSystem::seek(Request& request) {
  const fuse_lseek_in* in = request.argument<fuse_lseek_in>();
  const std::optional<DeviceId> device = inode_device(request.inode());
  if (in == nullptr || !device) co_return request.fail(EINVAL);
  if (in->whence != SEEK_DATA && in->whence != SEEK_HOLE) co_return request.fail(EINVAL);
  const Result<DeviceInfo> info = pool_.info(*device);
  if (!info) co_return request.fail(info.error());
  const uint64_t offset = in->offset;
  const bool data = in->whence == SEEK_DATA;
  if (offset >= info->size_bytes) co_return request.fail(ENXIO);
  Task<Result<uint64_t>> seeking = pool_.seek(*device, offset, data);
  const Result<uint64_t> found = co_await seeking;
  if (!found && found.error().code == Code::not_found) co_return request.fail(ENXIO);
  if (!found) co_return request.fail(found.error());
  fuse_lseek_out out{};
  out.offset = *found;
  request.answer(out);
}

}  // namespace lamina
