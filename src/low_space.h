// SPDX-License-Identifier: Apache-2.0
// Tells people that a pool fills up, and that it does so no longer: a line in the log that says
// what to do, and where the pool fills up the program that the pool file names (on_low_space).
// Thread-safety: tell() from any thread; it never waits for the program.
#pragma once

#include <memory>
#include <string>

#include "config/pool_config.h"
#include "daemon_log.h"
#include "engine/space/fullness.h"
#include "outside_program.h"

namespace lamina {

class LowSpace {
 public:
  LowSpace(const PoolConfig& config, std::string pool, std::string mount_point, DaemonLog& log);
  void tell(const FullnessWatch::Change& change);

 private:
  const std::string pool_, mount_point_, pool_file_;
  DaemonLog& log_;
  std::unique_ptr<OutsideProgram> program_;  // null: none is named
};

}  // namespace lamina
