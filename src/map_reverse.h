// SPDX-License-Identifier: Apache-2.0
// lamina map --reverse: whose data a place on the medium is.
// Thread-safety: one thread.
#pragma once

#include <string>

#include "base/result.h"
#include "command_line.h"

namespace lamina {

// `disk`: the path of a device or file that a mounted pool lies on; `offset` as typed, from the
// beginning of the blob on it. Errors: invalid; not_found, no mounted pool has it; those of the
// daemon.
Result<ExitCode> print_reverse_map(const std::string& disk, const std::string& offset, bool json);

}  // namespace lamina
