// SPDX-License-Identifier: Apache-2.0
#include "control_target.h"

namespace lamina {

Result<LaminaPath> find_control_target(const std::string& typed) {
  struct stat status {};
  if (stat(typed.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return find_mount(typed);
  return find_device(typed, true);
}

std::string without_control_prefix(const std::string& key) {
  const std::string prefix = "user.lamina.";
  return key.starts_with(prefix) ? key.substr(prefix.size()) : key;
}

}  // namespace lamina
