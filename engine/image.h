// SPDX-License-Identifier: Apache-2.0
// All maps as one checkpoint made them: immutable. Readers hold the image that they look through;
// a segment, of nodes or of data, is used again only when no image older than the checkpoint that
// found it dead is held by anybody. So a reader never meets a reused segment (A14).
// Ownership: shared by the pool (K_old, K_new), the maps and every reader of the moment.
#pragma once

#include <memory>
#include <vector>

#include "engine/lineage.h"
#include "engine/maps/node_table.h"

namespace lamina {

struct ImageMap {
  MapId map = MapId::none;
  NodeId root = NodeId::none;
  uint64_t mapped_blocks = 0;
  uint64_t extents = 0;
};

struct Image {
  CheckpointNumber number = 0;
  Sequence cut = 0;
  NodeTable nodes;
  std::vector<ImageMap> maps;  // of every device at the cut
  Lineage lineage;             // of these maps
};

using ImagePtr = std::shared_ptr<const Image>;

}  // namespace lamina
