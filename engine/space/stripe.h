// SPDX-License-Identifier: Apache-2.0
// Whose turn it is among the blobs of a tier: each is taken from as often as it can give in
// proportion to the others, so that they are full at the same time, and as evenly as that goes, so
// that what is written one behind the other lies on different disks.
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace lamina {

class Stripe {
 public:
  // `can_give`: of each blob, always in the same order; 0: nothing is taken from it now. Nothing:
  // from none.
  std::optional<size_t> next(std::span<const uint64_t> can_give);

 private:
  // In a time in which each is taken from once in 1 / can_give.
  double now_ = 0;
  std::vector<double> due_;  // when it is each one's turn
};

}  // namespace lamina
