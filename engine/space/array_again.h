// SPDX-License-Identifier: Apache-2.0
// The array of a segment of moved data, one checksum a block or where each frame lies, where it is
// damaged: put together from its copies and the payload. The summaries, of which there are two,
// have the checksum of all of it, so what comes of that is right, or is not taken.
// Thread-safety: a pure function.
#pragma once

#include <optional>
#include <span>

#include "base/buffer.h"
#include "base/checksum.h"
#include "blobs/segment.h"
#include "blobs/summary.h"

namespace lamina {

// As the array lies on the medium: a copy of it, or what the payload gives, or one of these with
// one block of another; nothing, where none of that is what the summary vouches for. `segment`: all
// of its bytes.
std::optional<Buffer> array_again(SegmentClass kind, std::span<const std::byte> segment,
                                  const Secret& secret, const MetadataPlace& place,
                                  const Summary& summary);

}  // namespace lamina
