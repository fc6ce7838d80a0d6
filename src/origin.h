// SPDX-License-Identifier: Apache-2.0
// External origins, as the control plane is asked for them.
// Thread-safety: pure functions of the system's state. Errors: those of the control plane, with
// what
//   the daemon says was the matter.
#pragma once

#include <string>

#include "base/result.h"
#include "lamina_path.h"

namespace lamina {

// `file` as typed: what the daemon is told is absolute, with links resolved.
Result<> set_origin_file(const LaminaPath& device, const std::string& file);

}  // namespace lamina
