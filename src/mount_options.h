// SPDX-License-Identifier: Apache-2.0
// What stands behind -o of `lamina mount`.
// Thread-safety: plain values. Errors: invalid names the word that is not known.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "fuse/kernel_features.h"

namespace lamina {

struct MountOptions {
  bool read_only = false;
  bool allow_other = false;            // others than who mounts may look in
  bool force = false;                  // although a member of the last session is absent
  uint32_t reactors = 0;               // 0: what the pool file says
  uint32_t workers = 0;                // for walks of the maps; 0: by the number of processors
  uint64_t throttle = 0;               // bytes a second of each disk, read, and written; 0: all
  FeatureSet without;                  // of the kernel's features, not to be used
  std::vector<std::string> to_kernel;  // passed on
};

// `lists`: each a comma-separated list, as typed. `is_root`: who mounts, which decides the default
// of allow_other.
Result<MountOptions> parse_mount_options(const std::vector<std::string>& lists, bool is_root);

}  // namespace lamina
