// SPDX-License-Identifier: Apache-2.0
#include "fuse/process.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

namespace lamina {
namespace {

bool protect_from_oom() {
  constexpr std::string_view never = "-1000";
  const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t written = write(fd, never.data(), never.size());
  const int error = errno;
  close(fd);
  errno = error;
  return written == static_cast<ssize_t>(never.size());
}

}  // namespace

ProcessStatus prepare_process() {
  ProcessStatus status;
  status.pid = getpid();
  auto note = [&status](bool ok, std::string_view what) {
    if (ok) return true;
    if (!status.why_not.empty()) status.why_not += "; ";
    status.why_not += std::string(what) + ": " + std::strerror(errno);
    return false;
  };
  status.io_flusher = note(prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == 0, "PR_SET_IO_FLUSHER");
  // On fault: the reserved address space of the request slots costs only what was touched.
  status.memory_locked =
      note(mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0, "mlockall (LimitMEMLOCK=)");
  status.oom_protected = note(protect_from_oom(), "oom_score_adj");
  return status;
}

}  // namespace lamina
