// SPDX-License-Identifier: Apache-2.0
#include "engine/space/stripe.h"

#include <algorithm>

namespace lamina {

// Fair queueing: of those who may have had their turns, the one who had them first. Who could give
// nothing for a while has missed those turns.
std::optional<size_t> Stripe::next(std::span<const uint64_t> can_give) {
  due_.resize(can_give.size(), now_);
  std::optional<size_t> chosen;
  for (size_t i = 0; i < can_give.size(); ++i) {
    if (can_give[i] == 0) continue;
    due_[i] = std::max(due_[i], now_);
    if (!chosen || due_[i] < due_[*chosen]) chosen = i;
  }
  if (!chosen) return chosen;
  now_ = due_[*chosen];
  due_[*chosen] += 1 / static_cast<double>(can_give[*chosen]);
  return chosen;
}

}  // namespace lamina
