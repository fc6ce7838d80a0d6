// SPDX-License-Identifier: Apache-2.0
// Whether a path can be opened by the daemon of a mount without asking that daemon.
// Thread-safety: a pure function of the system's state. Opens nothing, and looks at nothing in the
//   mount: who calls may be the one who would have to answer.
#pragma once

#include <string>

#include "base/result.h"

namespace lamina {

// `path` is absolute; no link on it is followed later. Error invalid: it lies in the mount, or in
// another place where that is mounted; it is a loop device over a file in it, or on one; or it lies
// in a file system mounted from such a loop.
Result<> check_outside_mount(const std::string& path, const std::string& mount_point);

}  // namespace lamina
