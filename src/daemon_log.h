// SPDX-License-Identifier: Apache-2.0
// Where the daemon's messages go: the system's journal, a file, or the terminal.
// Thread-safety: write() from any thread. Errors: access, a log file that cannot be opened.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "base/result.h"
#include "engine/settings.h"

namespace spdlog {
class logger;
}

namespace lamina {

class DaemonLog {
 public:
  // `where`: "journal", or the path of a file. `foreground`: the terminal instead of the journal.
  static Result<std::unique_ptr<DaemonLog>> open(const std::string& where, const std::string& pool,
                                                 bool foreground);
  ~DaemonLog();

  void write(Settings::Severity severity, const std::string& message);
  // Until this is called warnings and errors go to the terminal as well.
  void leave_terminal() { on_terminal_ = false; }

 private:
  explicit DaemonLog(std::shared_ptr<spdlog::logger> logger, bool on_terminal);
  std::shared_ptr<spdlog::logger> logger_;
  std::atomic<bool> on_terminal_;
};

}  // namespace lamina
