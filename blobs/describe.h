// SPDX-License-Identifier: Apache-2.0
// Metadata of blobs/ in words, for `lamina inspect`: a line a field, by the unpackers that the
// engine uses.
// Thread-safety: pure functions.
#pragma once

#include <span>
#include <string>

#include "base/checksum.h"
#include "blobs/entry.h"
#include "blobs/segment.h"

namespace lamina {

// One block: superblock, segment header, record header, header block of a summary, or slot. Says
// whether the checksum is right; of keyed ones only if the pool's secret is given. What does not
// decode is said with the reason. Empty: no magic of ours is there. The secret is never printed.
std::string describe_block(std::span<const std::byte> block, const Secret* secret);

// One entry on one line, such as "#1000 write map 3 blocks 1000+2 at 11".
std::string describe_entry(const Entry& entry);

// 8-4-4-4-12 lower-case digits.
std::string to_text(const Uuid& uuid);

}  // namespace lamina
