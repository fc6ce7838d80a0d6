// SPDX-License-Identifier: Apache-2.0
// Which operation a request is. What is not here answers ENOSYS: the kernel then does without or
// takes another way (STATX by GETATTR, locks by itself), and most of these it never asks again.
#include "fuse/file_system.h"

namespace lamina {
namespace {

Task<void> done() {
  co_return;
}

}  // namespace

Task<void> FileSystem::dispatch(Request& request) {
  switch (request.header.opcode) {
    case FUSE_READ:
      return read(request);
    case FUSE_WRITE:
      return write(request);
    case FUSE_COPY_FILE_RANGE:
    case copy_file_range_64:
      return copy(request);
    case FUSE_FSYNC:
      return sync(request);
    case FUSE_FALLOCATE:
      return allocate(request);
    case FUSE_LSEEK:
      return seek(request);
    case FUSE_LOOKUP:
      lookup(request);
      return done();
    case FUSE_GETATTR:
      get_attributes(request);
      return done();
    case FUSE_SETATTR:
      return set_attributes(request);
    case FUSE_OPEN:
      return open(request);
    case FUSE_CREATE:
      return create(request);
    case FUSE_MKNOD:
      return make_node(request);
    case FUSE_RELEASE:
      return release(request);
    case FUSE_UNLINK:
      return unlink(request);
    case FUSE_RENAME:
    case FUSE_RENAME2:
      return rename(request);
    case FUSE_OPENDIR:
      open_directory(request);
      return done();
    case FUSE_READDIR:
      read_directory(request, false);
      return done();
    case FUSE_READDIRPLUS:
      read_directory(request, true);
      return done();
    case FUSE_RELEASEDIR:
      return done();
    case FUSE_FSYNCDIR:
      return sync_directory(request);
    case FUSE_STATFS:
      statfs(request);
      return done();
    case FUSE_GETXATTR:
      return get_xattr(request);
    case FUSE_LISTXATTR:
      return list_xattrs(request);
    case FUSE_SETXATTR:
      return set_xattr(request);
    case FUSE_REMOVEXATTR:
      return remove_xattr(request);
    case FUSE_INIT:
      init(request);
      return done();
    case FUSE_DESTROY:
      return done();

    // A device is a regular file in one flat directory.
    case FUSE_MKDIR:
    case FUSE_RMDIR:
    case FUSE_LINK:
    case FUSE_SYMLINK:
      request.fail(EPERM);
      return done();

    // Inode numbers are permanent, so that there is nothing to count.
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_NOTIFY_REPLY:
      request.silent = true;
      return done();
    default:
      request.fail(ENOSYS);
      return done();
  }
}

}  // namespace lamina
