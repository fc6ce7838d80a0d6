// SPDX-License-Identifier: Apache-2.0
#include "fuse/mount.h"

#include <fcntl.h>
#include <fuse3/fuse_log.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>

extern "C" char** environ;

namespace lamina {
namespace {

// What libfuse said last; it reports by text alone.
thread_local std::string last_message;

void keep_message(fuse_log_level, const char* format, va_list arguments) {
  char text[512];
  vsnprintf(text, sizeof text, format, arguments);
  last_message = text;
  while (!last_message.empty() && last_message.back() == '\n') last_message.pop_back();
}

std::unexpected<Error> mount_failed(const std::string& mount_point, Code code) {
  std::string reason = last_message.empty() ? std::string(std::strerror(errno)) : last_message;
  return fail(code, "cannot mount on " + mount_point + ": " + reason);
}

Result<> check_mount_point(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) return {};
    return fail(Code::invalid, "the mount point " + path + " is not a directory");
  }
  if (errno == ENOTCONN)
    return fail(Code::busy, "the mount point " + path +
                                " holds a mount whose daemon is gone; run `fusermount3 -uz " +
                                path + "` first");
  const Code code = errno == EACCES ? Code::access : Code::not_found;
  return fail(code, "the mount point " + path + ": " + std::strerror(errno));
}

// umount2() is root's; others ask fusermount3. 0 or an errno.
int unmount_once(const std::string& path, bool lazily) {
  if (geteuid() == 0)
    return umount2(path.c_str(), UMOUNT_NOFOLLOW | (lazily ? MNT_DETACH : 0)) == 0 ? 0 : errno;
  std::string command = "fusermount3", flags = lazily ? "-uzq" : "-uq", end = "--", place = path;
  char* arguments[] = {command.data(), flags.data(), end.data(), place.data(), nullptr};
  pid_t child = 0;
  if (const int error = posix_spawnp(&child, "fusermount3", nullptr, nullptr, arguments, environ))
    return error;
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return errno;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : EBUSY;
}

}  // namespace

Result<std::unique_ptr<Mount>> Mount::create(const std::string& mount_point,
                                             const std::vector<std::string>& options) {
  if (Result<> checked = check_mount_point(mount_point); !checked) return forward_error(checked);
  std::string joined;
  for (const std::string& option : options) joined += (joined.empty() ? "" : ",") + option;
  std::string program = "lamina", option_flag = "-o";
  char* arguments[] = {program.data(), option_flag.data(), joined.data(), nullptr};
  fuse_args args{3, arguments, 0};

  last_message.clear();
  fuse_set_log_func(keep_message);
  // Its operations are never called: the session only mounts.
  const fuse_lowlevel_ops none{};
  fuse_session* session = fuse_session_new(&args, &none, sizeof none, nullptr);
  if (session == nullptr) return mount_failed(mount_point, Code::invalid);
  errno = 0;
  if (fuse_session_mount(session, mount_point.c_str()) != 0) {
    const Code code = errno == EPERM || errno == EACCES ? Code::access : Code::unsupported;
    fuse_session_destroy(session);
    return mount_failed(mount_point, code);
  }
  return std::unique_ptr<Mount>(new Mount(session, mount_point));
}

Mount::Mount(fuse_session* session, std::string mount_point)
    : session_(session), mount_point_(std::move(mount_point)), fd_(fuse_session_fd(session)) {
  // A reactor must never wait for a request that somebody else has taken.
  fcntl(fd_, F_SETFL, fcntl(fd_, F_GETFL) | O_NONBLOCK);
  fcntl(fd_, F_SETFD, FD_CLOEXEC);
}

// Not fuse_session_unmount(): it would unmount whatever lies on the mount point by now.
Mount::~Mount() {
  fuse_session_destroy(session_);
}

Mount::Unmounted Mount::unmount() {
  const int root = open(mount_point_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root >= 0) {
    syncfs(root);
    close(root);
  }
  int error = unmount_once(mount_point_, false);
  if (error == 0) return Unmounted::gone;
  if (error == EINVAL || error == ENOENT) return Unmounted::failed;  // somebody else has done it
  error = unmount_once(mount_point_, true);
  return error == 0 ? Unmounted::lazily : Unmounted::failed;
}

void Mount::unmount_unserved() {
  unmount_once(mount_point_, true);
}

}  // namespace lamina
