// SPDX-License-Identifier: Apache-2.0
// An external origin changes behind the pool's back: what lies in it is EIO and listed, and never
// other bytes; the rest is as it was; and when it is back and was accepted, so is it (C7).
// Thread-safety: none. The pool is open, `found` is what it showed, and nobody works with it.
// False: a crash came meanwhile. The image is as it was in any case.
#pragma once

#include <vector>

#include "oracle.h"
#include "pool_machine.h"
#include "report.h"

namespace lamina::sim {

bool check_changed_image(PoolMachine& machine, const std::vector<Oracle::Found>& found,
                         Report& report);

}  // namespace lamina::sim
