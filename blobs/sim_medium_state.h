// SPDX-License-Identifier: Apache-2.0
// What a SimMedium consists of, for it and the SimDisk that serves it alone.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "blobs/sim_cache.h"
#include "blobs/sim_medium.h"
#include "blobs/sim_stream_watch.h"

namespace lamina {

struct SimMedium::State {
  std::string name;
  uint64_t size = 0;
  DiskTraits traits;
  SimCache cache;
  SimStreamWatch streams;
  std::function<void(const std::string&)> report;
  uint64_t flushes = 0, writes = 0, reads = 0, discards = 0, bytes_written = 0, bytes_zeroed = 0,
           bytes_discarded = 0;

  void violation(const std::string& what) const;
};

}  // namespace lamina
