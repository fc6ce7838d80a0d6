// SPDX-License-Identifier: Apache-2.0
// The first half of a walk: the inner nodes of an image, a thousandth of it, each read once, level
// by level. They say which nodes are there, whether one map alone reaches a node or several do, and
// whether one does that is no snapshot.
// Thread-safety: one walk.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "base/task.h"
#include "engine/image.h"
#include "engine/maps/node_store.h"

namespace lamina {

// Who reaches each node. Memory: some 4 bytes an id, where the node table takes 40.
class NodeOwners {
 public:
  struct Owner {
    uint32_t map = 0;  // which of the image's maps: the only one, or one of them
    bool several = false;
    bool snapshots = false;  // nobody else, by a map that may change
    friend bool operator==(const Owner&, const Owner&) = default;
  };

  explicit NodeOwners(uint64_t ids) : chunks_(div_up(ids, fanout)) {}

  bool reached(NodeId id) const;
  Owner at(NodeId id) const;  // asserts that it is reached
  // Whether it is the first to reach it.
  bool add(NodeId id, Owner owner);

 private:
  static constexpr size_t fanout = 256;
  using Chunk = std::array<uint32_t, fanout>;  // 0: nobody; else map + 1, and two bits
  std::vector<std::unique_ptr<Chunk>> chunks_;
};

struct Reach {
  explicit Reach(uint64_t ids) : owners(ids) {}

  struct Leaf {
    uint64_t place = 0;  // of its first copy, as one number
    NodeId id = NodeId::none;
  };
  NodeOwners owners;
  std::vector<Leaf> leaves;  // in the order of place
  uint64_t nodes = 0;
};

// Error: a node could not be read, or is not what its parent says: nothing may be freed (A8); or
// what `go_on` says, which is asked now and then. `snapshots`: maps of the image.
Task<Result<>> reach(NodeStore& nodes, const Image& image, const std::set<MapId>& snapshots,
                     std::function<Result<>()> go_on, Reach& out);

}  // namespace lamina
