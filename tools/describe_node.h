// SPDX-License-Identifier: Apache-2.0
// Metadata of the engine in words, for `lamina inspect`: a node of a map, a page of a checkpoint's
// tables. Thread-safety: pure functions.
#pragma once

#include <span>
#include <string>

#include "base/checksum.h"

namespace lamina {

// A title, then "  name: value" lines. Keyed checksums are checked only if the pool's secret is
// given. Empty: no magic of ours is there.
std::string describe_node(std::span<const std::byte> block, const Secret* secret);

}  // namespace lamina
