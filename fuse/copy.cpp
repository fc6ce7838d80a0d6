// SPDX-License-Identifier: Apache-2.0
// COPY_FILE_RANGE, and its successor, whose length and answer are not cut at 4 GiB: the engine
// shares what it can. What is no device is copied by the kernel, which EXDEV tells it to do.
#include <fcntl.h>

#include <algorithm>

#include "fuse/file_system.h"

namespace lamina {
namespace {

// Of the older kind, whose answer has 32 bits.
constexpr uint64_t longest_copy = round_down(UINT32_MAX, block_size);

}  // namespace

Task<void> FileSystem::copy(Request& request) {
  const fuse_copy_file_range_in* in = request.argument<fuse_copy_file_range_in>();
  if (in == nullptr || in->flags != 0) co_return request.fail(EINVAL);
  const bool wide = request.header.opcode == copy_file_range_64;
  const std::optional<DeviceId> from = inode_device(request.inode());
  const std::optional<DeviceId> to = inode_device(Inode{in->nodeid_out});
  if (!from || !to) co_return request.fail(EXDEV);
  const bool durable = (in->fh_out & O_DSYNC) != 0;
  const uint64_t length = wide ? in->len : std::min(in->len, longest_copy);
  Task<Result<uint64_t>> copying = pool_.copy(*from, in->off_in, *to, in->off_out, length);
  const Result<uint64_t> copied = co_await copying;
  if (!copied) co_return request.fail(copied.error());
  if (durable) {
    Task<Result<>> flushing = pool_.flush(*to);
    const Result<> flushed = co_await flushing;
    if (!flushed) co_return request.fail(flushed.error());
  }
  if (wide) co_return request.answer(*copied);
  fuse_write_out out{};
  out.size = static_cast<uint32_t>(*copied);
  request.answer(out);
}

}  // namespace lamina
