// SPDX-License-Identifier: Apache-2.0
// A FUSE mount: from the mount system call, through libfuse (and fusermount3 for those who are not
// root), to the unmount. The requests are somebody else's.
// Thread-safety: unmount() from any thread, one at a time; the rest before and after serving.
// Ownership: owns /dev/fuse; closing it aborts what is still connected.
// Errors: not_found, no such mount point; access; unsupported, no FUSE here.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

struct fuse_session;

namespace lamina {

class Mount {
 public:
  static Result<std::unique_ptr<Mount>> create(const std::string& mount_point,
                                               const std::vector<std::string>& options);
  ~Mount();
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;

  int fd() const { return fd_; }  // /dev/fuse, O_NONBLOCK
  const std::string& mount_point() const { return mount_point_; }

  // Writes back what is mapped and dirty, so requests must be served meanwhile; then unmounts.
  // `gone`: nobody used it and the connection ends by itself. Otherwise it is out of the way, but
  // what is open stays connected.
  enum class Unmounted : uint8_t { gone, lazily, failed };
  Unmounted unmount();
  // The same while nobody serves it: nothing that would wait for an answer.
  void unmount_unserved();

 private:
  Mount(fuse_session* session, std::string mount_point);
  fuse_session* const session_;
  const std::string mount_point_;
  int fd_ = -1;
};

}  // namespace lamina
