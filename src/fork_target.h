// SPDX-License-Identifier: Apache-2.0
// The devices that snapshot, clone and rollback name.
// Thread-safety: pure functions.
#pragma once

#include <string>

#include "lamina_path.h"

namespace lamina {

// A name as typed, bare or as MOUNT/NAME, in the mount of `device`. Error invalid: it is in another
// pool. `what` is to be done with it: "clone", for the message.
Result<std::string> name_beside(const LaminaPath& device, const std::string& typed,
                                const std::string& what);

// Makes `name` from the device: `key` is snapshot, snapshot_read_only or clone. Durable when it
// returns. Error exists names what is there.
Result<> fork_device(const LaminaPath& device, const std::string& key, const std::string& name);

}  // namespace lamina
