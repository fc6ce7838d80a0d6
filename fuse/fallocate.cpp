// SPDX-License-Identifier: Apache-2.0
// FALLOCATE: a reservation, a hole, or zeroes. Never EOPNOTSUPP for these: a loop device that hears
// it once does without discards for the rest of its life.
#include <linux/falloc.h>

#include "fuse/file_system.h"

namespace lamina {

Task<Result<>> FileSystem::zero_range(DeviceId id, uint64_t offset, uint64_t length,
                                      bool keep_size) {
  const Result<DeviceInfo> info = pool_.info(id);
  if (!info) co_return fail(info.error().code);
  Task<Result<>> erasing = pool_.erase(id, offset, length);
  const Result<> erased = co_await erasing;
  if (!erased) co_return fail(erased.error().code);
  if (keep_size || offset + length <= info->size_bytes) co_return Result<>{};
  Task<Result<>> growing = pool_.resize(id, offset + length);
  co_return co_await growing;
}

Task<void> FileSystem::allocate(Request& request) {
  const fuse_fallocate_in* in = request.argument<fuse_fallocate_in>();
  const std::optional<DeviceId> device = inode_device(request.inode());
  if (in == nullptr) co_return request.fail(EINVAL);
  if (!device) co_return request.fail(EPERM);
  const uint64_t offset = in->offset, length = in->length;
  const uint32_t mode = in->mode;
  const bool keep_size = (mode & FALLOC_FL_KEEP_SIZE) != 0;
  if (length == 0 || offset + length < offset) co_return request.fail(EINVAL);
  if (offset + length > max_device_bytes) co_return request.fail(EFBIG);

  Result<> result;
  switch (mode & ~uint32_t{FALLOC_FL_KEEP_SIZE}) {
    case 0: {
      Task<Result<>> reserving = pool_.reserve(*device, offset, length, keep_size);
      result = co_await reserving;
      break;
    }
    case FALLOC_FL_PUNCH_HOLE: {
      Task<Result<>> erasing = pool_.erase(*device, offset, length);
      result = co_await erasing;
      break;
    }
    case FALLOC_FL_ZERO_RANGE: {
      Task<Result<>> zeroing = zero_range(*device, offset, length, keep_size);
      result = co_await zeroing;
      break;
    }
    default:
      co_return request.fail(EOPNOTSUPP);
  }
  if (!result) request.fail(result.error());
}

}  // namespace lamina
