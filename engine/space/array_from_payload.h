// SPDX-License-Identifier: Apache-2.0
// The array behind the header of a segment of moved data, made again from the payload: one
// checksum a block, or where each frame lies. It has no second copy and needs none: the summaries,
// of which there are two, have the checksum of all of it, so what is made again is right, or is not
// taken.
// Thread-safety: a pure function.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/buffer.h"
#include "base/checksum.h"
#include "blobs/segment.h"

namespace lamina {

// `segment`: all of its bytes; `used_end`: of its payload. As the array lies on the medium;
// nothing, where neither all of it nor any one block of it, made from the payload, gives that
// checksum.
std::optional<Buffer> array_from_payload(SegmentClass kind, std::span<const std::byte> segment,
                                         const Secret& secret, const MetadataPlace& place,
                                         uint32_t used_end, uint64_t expected);

}  // namespace lamina
