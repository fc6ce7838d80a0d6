// SPDX-License-Identifier: Apache-2.0
// WRITE. With direct I/O the kernel sends no FSYNC after a write of a file opened O_DSYNC or
// O_SYNC: the flags that come with each WRITE are all there is, and not honouring them would lose
// data.
#include <fcntl.h>

#include "fuse/file_system.h"

namespace lamina {

Task<void> FileSystem::write(Request& request) {
  const fuse_write_in* in = request.argument<fuse_write_in>();
  const std::optional<DeviceId> device = inode_device(request.inode());
  if (in == nullptr || request.body.size() < sizeof *in + in->size) co_return request.fail(EINVAL);
  if (!device) co_return request.fail(EPERM);
  // Nothing to do for FUSE_WRITE_KILL_SUIDGID: no device ever has one of these bits.
  const uint32_t bytes = in->size;
  const bool durable = (in->flags & O_DSYNC) != 0;  // O_SYNC contains it
  const std::span<const std::byte> from = request.body.subspan(sizeof *in, bytes);
  Task<Result<>> writing = pool_.write(*device, in->offset, from);
  const Result<> written = co_await writing;
  if (!written) co_return request.fail(written.error());
  if (durable) {
    Task<Result<>> flushing = pool_.flush(*device);
    const Result<> flushed = co_await flushing;
    if (!flushed) co_return request.fail(flushed.error());
  }
  fuse_write_out out{};
  out.size = bytes;
  request.answer(out);
}

}  // namespace lamina
