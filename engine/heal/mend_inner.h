// SPDX-License-Identifier: Apache-2.0
// Inner nodes of which no copy is left, put together again (B8).
//
// Its children are among those nodes of the level below that were born before all maps diverged
// that would then have them (F1), or that its map alone would have. Where they tile its range in
// one way, none of them is lost, and no inner node is that might have one of them, they are known,
// and no entry is asked. Else its range is made again from what summaries and records say: of the
// nodes of the levels below, of which the same holds, those serve that say just that; what is
// between them is made anew, under ids of nodes that are lost as well. Which ids are free:
// those of nodes without a copy that no inner node refers to that can be read, of all images that
// are kept; and only if all inner nodes of the image that are lost are made in one go, so that none
// that was only hidden refers to one of them. So all that is made has places in the image's table,
// and neither parents nor readers know of it.
//
// Thread-safety: one at a time. Memory: what is said of the range of one of them, and a survey.
// Errors: corrupt, it cannot be told; io.
#pragma once

#include <utility>
#include <vector>

#include "base/task.h"
#include "engine/heal/survey.h"
#include "engine/maps/node.h"

namespace lamina {

struct MadeNodes {
  struct One {
    NodeEntry entry;
    Node node;  // its id, and all but its version
  };
  std::vector<One> nodes;  // the one that was asked for, and those that were made for it or with it
  std::vector<NodeId> taken;  // ids that had another meaning
  // Nodes of which no tree was known, and which they now refer to.
  std::vector<std::pair<NodeId, NodeEntry>> adopted;
};

// `surveyed`: with all links.
Task<Result<MadeNodes>> mend_inner(PoolState& pool, Survey surveyed, NodeRef wanted);

}  // namespace lamina
