// SPDX-License-Identifier: Apache-2.0
// Where an epoch may begin that follows one whose end is not known (A3, A19): in a segment that a
// durable header has named and nobody has written to, on a disk that works.
// Thread-safety: pure functions.
#pragma once

#include <cstddef>

#include "blobs/record.h"

namespace lamina {

// How many of the last names of a header are kept unwritten while it is the newest durable one: so
// many that they lie on two disks, so that the log goes on where one of them has failed; one, where
// the names offer no two. The log goes no further ahead. So whoever finds such a header, or one
// that was written behind it, knows of these that only an epoch can have begun in them. Between 1
// and 3, so that there is always one to write next.
size_t kept_unwritten(const SegmentChain& names);

}  // namespace lamina
