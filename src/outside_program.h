// SPDX-License-Identifier: Apache-2.0
// Runs a program of the administrator's beside the daemon: it is a child of its own kind, with none
// of the protections of a process that serves disks (fuse/process.h), none of its descriptors and
// signals, and a clean environment. One runs at a time; what is asked for meanwhile is run
// afterwards, the newest only.
// Thread-safety: run() from any thread; it never waits. Ownership: starts and joins one thread, and
//   reaps what it started; one that still runs when this goes is left to run.
// Errors: what cannot be started, or ends otherwise than with exit code 0, is said in the log.
#pragma once

#include <condition_variable>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "daemon_log.h"
#include "file_handle.h"

namespace lamina {

class OutsideProgram {
 public:
  // `path` is absolute.
  OutsideProgram(std::string path, DaemonLog& log);
  ~OutsideProgram();

  // `environment`: NAME=value each, besides PATH.
  void run(std::vector<std::string> environment);

 private:
  void serve();
  void start_and_wait(const std::vector<std::string>& environment);
  void say(const std::string& what);

  const std::string path_;
  DaemonLog& log_;
  FileHandle ends_;  // an eventfd: nobody waits for the program any more
  Mutex mutex_;
  std::condition_variable_any asked_;
  std::optional<std::vector<std::string>> next_ GUARDED_BY(mutex_);
  bool ending_ GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: uses the rest
};

}  // namespace lamina
