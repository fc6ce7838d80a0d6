// SPDX-License-Identifier: Apache-2.0
// Which blocks several maps refer to, as a walk found it: what decides, where a pool is full,
// whether a device owns alone what its last fork or copy would let others share (D3).
// Thread-safety: a plain value. Memory: 4 bytes a segment, a bit for each block of segments in
// which something is shared.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/units.h"

namespace lamina {

class SharedBlocks {
 public:
  using Bits = std::vector<uint64_t>;  // a bit for each block of a segment

  // A segment of which it is known; no bits: nothing in it is shared.
  void add(Generation generation, Bits shared);
  // After the last of them. `cut`: of the image that was walked.
  void finish(Sequence cut);

  // How many of the blocks no other map referred to at the cut. Nothing: it is not known of that
  // segment, or a share so new may have changed it since.
  std::optional<uint64_t> alone(Address address, uint64_t blocks, Sequence last_share) const;

 private:
  Sequence cut_ = 0;
  std::vector<uint32_t> none_shared_;  // generations, sorted
  std::unordered_map<uint32_t, Bits> some_shared_;
};

}  // namespace lamina
