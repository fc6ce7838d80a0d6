// SPDX-License-Identifier: Apache-2.0
// What the mover has copied elsewhere: which pointers a checkpoint is to change, and in which
// leaves. Data is found by its old address, so however many leaves share it, it is copied once and
// all of them follow. Facts have no address: what a leaf says of them is changed leaf by leaf.
// Moving changes no birth and no number (A12): a leaf with its pointers changed says what it said.
// So it does where a zero that hides nothing any more becomes a hole (engine/scrub/zeroes.h).
// Thread-safety: none while it is filled; afterwards const, from any thread.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "engine/maps/extent.h"
#include "engine/maps/tree.h"

namespace lamina {

class Relocations {
 public:
  // Blocks from `from` on now lie from `to` on. No block is moved twice. An alias follows only
  // where its home does: the statement that it is left with otherwise names the old place, and
  // whoever reads only statements would look for it there.
  void add_data(Address from, uint32_t blocks, Address to);
  // In that leaf, zero, lost and alias extents of the range whose home is `from` now have `to`.
  void add_home(NodeId leaf, BlockRange range, Generation from, Generation to);
  // The same for an alias that refers to `data`, and to nothing else: another that has come there
  // since, by an entry that the same home states, keeps its own.
  void add_alias_home(NodeId leaf, BlockRange range, Address data, Generation from, Generation to);
  // In that leaf, zero extents of the range whose home is `from` become holes; but what is reserved
  // stays (D8).
  void add_hole(NodeId leaf, BlockRange range, Generation from);
  // What was said of the homes in leaf `from` holds in `to` as well, which has some of its extents.
  void follow(NodeId from, NodeId to);
  // Aliases of data in that segment keep their homes, but for those in `given_up`: where the same
  // home may state another alias of the same place since, nobody can tell the two apart in a leaf.
  void keep_aliases(Generation data, const std::set<Generation>& given_up);
  // After the last add_data().
  void sort();

  // Where a data extent's blocks lie now, in order; the extent itself where nothing of it moved.
  std::vector<Extent> places(const Extent& data) const;
  // Changes what a leaf holds. Returns whether anything was.
  bool apply(NodeId leaf, std::vector<Extent>& extents, LiveCounts& counts) const;
  // Adds to the counts what moved, once for all leaves.
  void count_data(LiveCounts& counts) const;
  // How many blocks have left that segment.
  uint64_t blocks_from(Generation generation) const;
  bool empty() const { return data_.empty() && homes_.empty(); }

 private:
  struct Data {
    Address from{};
    uint32_t blocks = 0;
    Address to{};
  };
  struct Home {
    BlockRange range;
    Generation from = Generation::none, to = Generation::none;  // to none: it becomes a hole
    Address data{};  // of an alias; else of no generation
    bool is_of(const Extent& extent) const;
  };

  void move_data(const Extent& extent, std::vector<Extent>& out, bool& changed) const;
  void move_home(const std::vector<Home>& homes, std::vector<Extent>& extents, LiveCounts& counts,
                 bool& changed) const;

  std::vector<Data> data_;  // by `from`
  std::map<NodeId, std::vector<Home>> homes_;
};

}  // namespace lamina
