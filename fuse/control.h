// SPDX-License-Identifier: Apache-2.0
// The control plane: virtual extended attributes `user.lamina` and `user.lamina.*`, read and set by
// name, never listed, so that `cp -a` of a device copies a file.
// Thread-safety: pure functions.
#pragma once

#include <string_view>

namespace lamina {

inline constexpr std::string_view control_name = "user.lamina";

inline bool is_control_name(std::string_view name) {
  if (!name.starts_with(control_name)) return false;
  return name.size() == control_name.size() || name[control_name.size()] == '.';
}

// What follows "user.lamina."; empty for the attribute that holds all.
inline std::string_view control_key(std::string_view name) {
  return name.size() == control_name.size() ? std::string_view{}
                                            : name.substr(control_name.size() + 1);
}

}  // namespace lamina
