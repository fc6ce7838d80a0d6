// SPDX-License-Identifier: Apache-2.0
// The map of one device: layers that take the changes over a tree that checkpoints make.
// The top layer takes the changes. Below it lie closed ones, newest first; a fork and a cut close
// the top. What is closed never changes again and is shared: by the maps on both sides of a fork,
// and by the checkpoint that merges it.
// Thread-safety: all methods from any thread; changes, forks and cuts come in the order of entries,
//   under the order lock, which is taken before this one's mutex.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "base/task.h"
#include "engine/image.h"
#include "engine/maps/layer.h"
#include "engine/maps/node_store.h"

namespace lamina {

// Changes that nothing can be added to any more.
struct ClosedLayer {
  Layer layer;
  MapId map = MapId::none;  // whose entries are in it, though others may share it
  Sequence after = 0;       // every entry in it is newer,
  Sequence closed_at = 0;   // and older than this, which is a fork, or a cut's last entry
  bool holds(Sequence entry) const { return entry > after && entry <= closed_at; }
};
// Owners: every map that has it in its stack, and a checkpoint.
using ClosedLayerPtr = std::shared_ptr<const ClosedLayer>;

// What a checkpoint makes a map's tree from: the tree that the layers lie on, and those, the
// oldest first.
struct MapStack {
  ImageMap tree;
  std::vector<ClosedLayerPtr> layers;
};

class ThinMap {
 public:
  // More layers than this in a stack are worth a checkpoint, since every look-up goes through them;
  // and so many are the end: no fork before they are merged.
  static constexpr size_t many_layers = 16, most_layers = 64;

  // `root` none: an empty map, whatever the image.
  ThinMap(MapId id, DeviceId device, ImagePtr image, NodeId root, uint64_t mapped_blocks,
          uint64_t extents, std::vector<ClosedLayerPtr> closed = {}, Sequence after = 0);

  MapId id() const { return id_; }
  DeviceId device() const { return device_; }

  void insert(const Extent& extent);

  // Ranges of which it is not believed what the tree says, and layers that were closed up to `at`,
  // until a person accepts it: they read as `lost` (B2). What is written lies over that; the tree
  // keeps what it has, so it can be accepted. suspect(): those that are still in doubt, in order. A
  // fork has the same.
  void set_suspect(const std::vector<BlockRange>& ranges, Sequence at = 0);
  std::vector<BlockRange> suspect() const;

  // An inner node that is lost: no merge can go through it, so nothing is to be changed in its range
  // until it can be read again, or a merge has dropped it unread, for an erase of all of it (E4),
  // which is not refused. A fork has the same.
  void refuse(NodeId node, BlockRange range);
  void take_again(NodeId node);
  bool refuses(BlockRange range, bool erases = false) const;

  // Another map that is as this one is now; the two share everything so far. O(layers).
  std::shared_ptr<ThinMap> fork(MapId id, DeviceId device, Sequence at);

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

  // What was not durable lies elsewhere now (A19). Each of these layers holds what one map wrote,
  // so the top's swaps are this map's; closed layers, which do not change, are replaced, in all
  // maps that share them, by others that say it.
  void swap(const Swap& swap, Sequence entry);
  std::vector<ClosedLayerPtr> closed() const;
  using Replaced = std::unordered_map<const ClosedLayer*, ClosedLayerPtr>;
  void replace(const Replaced& replaced);

  // --- checkpoint
  // Closes the top layer at the cut, and says what there is to merge.
  MapStack cut(Sequence at);
  // What cut() said, and what a map that was forked since has in common with the one that it was
  // forked from: the layers that were closed up to `at`.
  MapStack up_to(Sequence at) const;
  // Readers move to the new tree, which has all layers that were closed up to `at`; those go.
  void publish(ImagePtr image, const ImageMap& made, Sequence at);

  struct Size {
    uint64_t mapped_blocks = 0;  // tree and layers: at most so many
    uint64_t merged_blocks = 0;  // tree
    uint64_t extents = 0;        // tree
    bool exact = false;
    // The layers hide enough of the tree, or erase that much of it, that the sum may be far off.
    bool worth_merging(uint64_t erased_blocks) const {
      return merged_blocks > 0 &&
             (mapped_blocks - merged_blocks + erased_blocks) * 8 > merged_blocks;
    }
  };
  Size size() const;
  // Of the top layer; adds the closed ones to `closed`.
  size_t layer_bytes(std::vector<ClosedLayerPtr>& closed) const;
  size_t layers() const;   // closed ones
  bool untouched() const;  // nothing was ever written to it

 private:
  struct Gathered {
    std::vector<Extent> extents;
    std::vector<BlockRange> gaps;
    ImagePtr image;
    NodeId root = NodeId::none;
  };
  Gathered gather(BlockRange range) const;
  Task<Result<Resolved>> look_below(NodeStore& nodes, Gathered found, BlockRange range,
                                    size_t limit) const;
  void close_top(Sequence at) REQUIRES(mutex_);
  void believe_covered(const std::vector<ClosedLayerPtr>& merged) REQUIRES(mutex_);
  void take_what_was_dropped(const std::vector<ClosedLayerPtr>& merged) REQUIRES(mutex_);

  const MapId id_;
  const DeviceId device_;
  mutable Mutex mutex_;
  Layer top_ GUARDED_BY(mutex_);
  Sequence top_after_ GUARDED_BY(mutex_);                  // every entry in it is newer
  std::vector<ClosedLayerPtr> closed_ GUARDED_BY(mutex_);  // the newest last; none is empty
  ImagePtr image_ GUARDED_BY(mutex_);
  ImageMap tree_ GUARDED_BY(mutex_);
  // Lies below the layers that were closed after `suspect_at_`; null: all is believed. Owners: maps
  // of a family.
  std::shared_ptr<const Layer> suspect_ GUARDED_BY(mutex_);
  Sequence suspect_at_ GUARDED_BY(mutex_) = 0;
  std::map<NodeId, BlockRange> refused_ GUARDED_BY(mutex_);
  std::atomic<bool> refuses_any_ = false;  // else nobody needs to look
};

}  // namespace lamina
