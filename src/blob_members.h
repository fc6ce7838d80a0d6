// SPDX-License-Identifier: Apache-2.0
// lamina blob add, evacuate, remove: who is a member of a mounted pool. The daemon that has the
// disks does it; these ask, and wait.
#pragma once

#include "command_line.h"

namespace lamina {

void add_blob_members(Command& blob);

}  // namespace lamina
