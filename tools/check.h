// SPDX-License-Identifier: Apache-2.0
// Looks at a whole pool, offline, and names every inconsistency by the id of the rule that it
// breaks. Changes nothing.
// Thread-safety: on the thread of a UringLoop; progress is called there.
// Errors: those of open_blobs: what keeps it from looking at all. What it finds is no error.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/task.h"
#include "config/pool_config.h"

namespace lamina {

struct Finding {
  std::string rule;   // as in engine/INVARIANTS.md
  std::string where;  // path and place, or device and range
  std::string what;
  bool rebuild = false;  // the maps are to be made again (lamina repair)
};

struct CheckReport {
  std::string pool;
  std::vector<Finding> findings;
  uint64_t segments = 0;  // in use: with a header of this pool, and not stamped
  uint64_t devices = 0;
  uint64_t ranges = 0;          // of all maps, but holes
  uint64_t verified_bytes = 0;  // of data, with CheckOptions::data
  bool damaged() const { return !findings.empty(); }
};

struct CheckOptions {
  bool data = false;  // read all data and verify its checksums
  std::function<void(const std::string& doing, uint64_t done, uint64_t all)> progress =
      [](const std::string&, uint64_t, uint64_t) {};
};

Task<Result<CheckReport>> check_pool(PoolConfig config, CheckOptions options);

}  // namespace lamina
