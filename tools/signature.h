// SPDX-License-Identifier: Apache-2.0
// What a disk or file already holds, by the marks that file systems, volume managers, partition
// tables, image formats and lamina leave at known places; so that `format` destroys nothing.
// Thread-safety: pure functions of the bytes. Errors: io, when the marks cannot be read.
// Units: bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"

namespace lamina {

// Fills `into` from `offset`; everything asked for lies inside the size that was given.
using ReadAt = std::function<Result<>(uint64_t offset, std::span<std::byte> into)>;

// The first mark found, for a person: "an ext2, ext3 or ext4 file system"; none: nothing known.
Result<std::optional<std::string>> find_signature(uint64_t size, const ReadAt& read);

// The same of [offset, offset + length) of a path; 0 = to the end. What does not begin with zeroes
// counts as "data of an unknown kind": nothing marks most files, nor all that lies on partitions.
Result<std::optional<std::string>> find_signature_of(const std::string& path, uint64_t offset,
                                                     uint64_t length);

}  // namespace lamina
