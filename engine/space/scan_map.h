// SPDX-License-Identifier: Apache-2.0
// A map of an image from a block on, extent by extent, letting others run in between.
// Thread-safety: one coroutine. Memory: some thousand extents.
#pragma once

#include <functional>

#include "base/task.h"
#include "engine/image.h"
#include "engine/maps/extent.h"

namespace lamina {

class PoolState;

// Until `visit` says false. The image lives as long. Error io, corrupt: a node could not be read.
Task<Result<>> scan_map(PoolState& pool, const Image& image, NodeId root, DeviceBlock from,
                        std::function<bool(const Extent&)> visit);

// That map's; empty if the image has none, since its device is gone or so new that nothing is in
// it.
ImageMap map_in(const Image& image, MapId map);

}  // namespace lamina
