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
  Sequence last_share = 0;  // its device's at the cut; 0: nobody else refers to its blocks (A9)
  friend bool operator==(const ImageMap&, const ImageMap&) = default;
};

struct Image {
  CheckpointNumber number = 0;
  // The first one of this life that had the same maps, to the last node.
  CheckpointNumber content = 0;
  Sequence cut = 0;
  NodeTable nodes;
  std::vector<ImageMap> maps;  // of every device at the cut
  Lineage lineage;             // of these maps
  // Counts of this life that ended with this checkpoint. Data blocks that the merges put into
  // trees, less those that were free for certain; and blocks that may have died: they were several
  // maps', or one's that is gone. What a walk of it finds is right for its end (D2).
  int64_t added_blocks = 0;
  uint64_t dead_blocks = 0;
};

using ImagePtr = std::shared_ptr<const Image>;

}  // namespace lamina
