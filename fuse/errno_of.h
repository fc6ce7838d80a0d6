// SPDX-License-Identifier: Apache-2.0
// Codes of the engine as the errno that a program sees: the one place where they become one again.
// Thread-safety: pure function.
#pragma once

#include "base/result.h"

namespace lamina {

int errno_of(Code code);  // positive

}  // namespace lamina
