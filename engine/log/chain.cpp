// SPDX-License-Identifier: Apache-2.0
#include "engine/log/chain.h"

namespace lamina {

size_t kept_unwritten(const SegmentChain& names) {
  for (size_t kept = 2; kept < names.size(); ++kept)
    if (names[names.size() - kept].blob != names.back().blob) return kept;
  return 1;
}

}  // namespace lamina
