// SPDX-License-Identifier: Apache-2.0
// Whether two blobs of a pool file would lie on the same bytes, whatever the paths that name them.
// Looks at the paths, opens nothing. Thread-safety: pure functions of the file system's state.
#pragma once

#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "config/pool_config.h"

namespace lamina {

// The places in the list of two blobs that overlap, the later one second; none: they do not.
// Links, two names of one device, and a partition beside its whole disk are seen through. A path
// that does not exist overlaps only with its own text.
std::optional<std::pair<size_t, size_t>> overlapping_blobs(const std::vector<BlobConfig>& blobs);

}  // namespace lamina
