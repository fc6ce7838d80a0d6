// SPDX-License-Identifier: Apache-2.0
// What `get` and `set` talk to: a mount or a device in it, and the names of its attributes.
// Thread-safety: pure functions of the system's state.
#pragma once

#include <string>

#include "lamina_path.h"

namespace lamina {

// MOUNT or MOUNT/NAME, as typed.
Result<LaminaPath> find_control_target(const std::string& typed);

// "user.lamina.tier" and "tier" are the same key.
std::string without_control_prefix(const std::string& key);

}  // namespace lamina
