// SPDX-License-Identifier: Apache-2.0
// UNLINK, RENAME. Durable with the next flush, in the order in which they were answered.
#include <linux/fs.h>

#include "fuse/file_system.h"

namespace lamina {

Task<void> FileSystem::unlink(Request& request) {
  size_t offset = 0;
  bool ok = true;
  const std::string name(request.text(offset, ok));
  if (!ok) co_return request.fail(EINVAL);
  if (request.inode() != Inode::root || name == ".lamina") co_return request.fail(EPERM);
  Task<Result<>> removing = pool_.remove(name);
  const Result<> removed = co_await removing;
  if (!removed) request.fail(removed.error());
}

Task<void> FileSystem::rename(Request& request) {
  const bool second = request.header.opcode == FUSE_RENAME2;
  size_t offset = second ? sizeof(fuse_rename2_in) : sizeof(fuse_rename_in);
  bool ok = request.body.size() >= offset;
  const std::string from(request.text(offset, ok));
  const std::string to(request.text(offset, ok));
  if (!ok) co_return request.fail(EINVAL);
  const Inode target{request.argument<fuse_rename_in>()->newdir};
  const uint32_t flags = second ? request.argument<fuse_rename2_in>()->flags : 0;
  if (request.inode() != Inode::root || target != Inode::root || from == ".lamina")
    co_return request.fail(EPERM);
  if (flags & ~uint32_t{RENAME_NOREPLACE}) co_return request.fail(EINVAL);
  Task<Result<>> renaming = pool_.rename(from, to, flags == 0);
  const Result<> renamed = co_await renaming;
  if (!renamed) request.fail(renamed.error());
}

}  // namespace lamina
