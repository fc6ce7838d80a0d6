// SPDX-License-Identifier: Apache-2.0
// Reads payload by what a scan knows of its segment, without the pool.
// Thread-safety: any number at a time.
#pragma once

#include <span>

#include "engine/rebuild_scan.h"

namespace lamina {

// One block. Error io: it cannot be read, does not match its checksum, or nothing says what that is.
Task<Result<>> read_payload(const Scan& scan, Address address, std::span<std::byte> into);

}  // namespace lamina
