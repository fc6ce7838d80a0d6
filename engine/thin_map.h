// SPDX-License-Identifier: Apache-2.0
// The map of one device: layers that take the changes over a tree that checkpoints make.
// Thread-safety: all methods from any thread; changes come in the order of entries, under the
//   order lock, which is taken before this one's mutex.
#pragma once

#include <memory>
#include <vector>

#include "base/mutex.h"
#include "base/task.h"
#include "engine/image.h"
#include "engine/maps/layer.h"
#include "engine/maps/node_store.h"
#include "engine/maps/tree.h"

namespace lamina {

class ThinMap {
 public:
  // `root` none: an empty map, whatever the image.
  ThinMap(MapId id, DeviceId device, ImagePtr image, NodeId root, uint64_t mapped_blocks,
          uint64_t extents);

  MapId id() const { return id_; }
  DeviceId device() const { return device_; }

  void insert(const Extent& extent);

  // What is known of a range. `extents` in order, clipped; what they do not cover was never
  // written. `pin` keeps their addresses readable.
  struct Resolved {
    std::vector<Extent> extents;
    ImagePtr pin;
  };
  // From memory and the node cache alone; false: `resolve` has to read.
  bool try_resolve(NodeStore& nodes, BlockRange range, Resolved& out) const;
  // May stop after some `limit` extents; then `out.extents.back().end` < range.end.
  Task<Result<Resolved>> resolve(NodeStore& nodes, BlockRange range, size_t limit) const;

  // --- checkpoint
  // Pushes a layer boundary: what was changed so far is frozen. False: nothing was.
  bool freeze();
  // The frozen layer that a checkpoint merges (one at a time), null if there is none.
  std::shared_ptr<const Layer> frozen() const;
  // The checkpoint came to nothing: what was frozen is part of the top layer again.
  void thaw();
  NodeId root() const;
  // Readers move to the new tree and the merged layer goes.
  void publish(ImagePtr image, const ImageMap& made, bool merged);

  // What the top layer says is elsewhere now (A19); nothing is frozen.
  void swap(const Swap& swap);

  struct Size {
    uint64_t mapped_blocks = 0;  // tree and layers: at most so many
    uint64_t merged_blocks = 0;  // tree
    uint64_t extents = 0;        // tree
    bool exact = false;
    size_t layer_bytes = 0;
    // The layers hide enough of the tree that the sum may be far off.
    bool worth_merging() const {
      return merged_blocks > 0 && (mapped_blocks - merged_blocks) * 8 > merged_blocks;
    }
  };
  Size size() const;
  size_t layer_bytes() const;
  bool untouched() const;  // nothing was ever written to it

 private:
  struct Gathered {
    std::vector<Extent> extents;
    std::vector<BlockRange> gaps;
    ImagePtr image;
    NodeId root = NodeId::none;
  };
  Gathered gather(BlockRange range) const;

  const MapId id_;
  const DeviceId device_;
  mutable Mutex mutex_;
  std::shared_ptr<Layer> top_ GUARDED_BY(mutex_);
  std::shared_ptr<const Layer> frozen_ GUARDED_BY(mutex_);  // owners: this and the checkpoint
  ImagePtr image_ GUARDED_BY(mutex_);
  NodeId root_ GUARDED_BY(mutex_);
  uint64_t mapped_blocks_ GUARDED_BY(mutex_);
  uint64_t extents_ GUARDED_BY(mutex_);
};

}  // namespace lamina
