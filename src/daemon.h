// SPDX-License-Identifier: Apache-2.0
// Becoming a daemon whose start is not over before it serves: the process that was typed waits for
// the word of its child, and ends with it. Nothing is executed anew, so that the command line of
// the daemon stays as typed.
// Thread-safety: one thread, before any other is started.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "file_handle.h"

namespace lamina {

class Daemon {
 public:
  // Before the program opens anything: a daemon holds nothing of whoever started it, be it the lock
  // of a script (`flock`) or the end of a pipe that somebody reads until it closes.
  static void close_inherited();

  // In the child: a Daemon. In the parent: nothing, once the child has spoken; what it said.
  struct Parent {
    bool ready = false;
    std::string message;  // why not
  };
  static Result<std::optional<Daemon>> start(Parent& parent);

  // In the child. Lets the terminal go and the parent end with success.
  void ready();
  // In the child, which ends soon. The parent reports it. No effect after ready().
  void failed(const std::string& message);

 private:
  explicit Daemon(FileHandle to_parent) : to_parent_(std::move(to_parent)) {}
  FileHandle to_parent_;
};

}  // namespace lamina
