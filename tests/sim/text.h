// SPDX-License-Identifier: Apache-2.0
// Messages put together from parts: text("block ", 5, " of ", name).
// Thread-safety: pure.
#pragma once

#include <sstream>
#include <string>

namespace lamina::sim {

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace lamina::sim
