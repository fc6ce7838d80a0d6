// SPDX-License-Identifier: Apache-2.0
// Copying to memory that nobody reads again soon.
// Thread-safety: pure.
#pragma once

#include <cstddef>

namespace lamina {

// As memcpy, but the destination's cache lines are neither read nor kept: for what only goes to a
// disk. `to` is aligned to 16, `bytes` is a multiple of 64, `from` may lie anywhere.
// Other threads see it once they take a mutex that this one has released since: that waits for
// stores past the cache too, where a plain store of a flag does not. (A fence of its own, each
// time, was measured to cost what the rest gains.)
void copy_past_cache(const std::byte* from, std::byte* to, size_t bytes);

}  // namespace lamina
