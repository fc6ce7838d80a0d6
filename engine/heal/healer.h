// SPDX-License-Identifier: Apache-2.0
// Damage of metadata that is met while the pool is open, and what becomes of it.
//
// What has another copy is served from that, and written anew soon, in the background:
//   nodes: by the next checkpoint, in a new place, as if they had changed (never in place);
//   tables: by the next checkpoint, which writes all of them;
//   segments of nodes whose header or summary is bad: all nodes in them likewise, so that they die;
//   superblocks, checkpoint slots, headers, checksums, frame indexes and summaries of sealed
//   segments: in their places. What lies there fails its check, so nothing is given up, and what is
//   written is what was there, byte for byte or by the checksum that vouches for it; a crash leaves
//   the block good, or as bad as it was. Meanwhile a segment is kept from being freed
//   (Space::share_if_alive, and a held image), so that no stamp is written over (C4); slots and
//   superblocks are written between checkpoints.
//
// A node of which no copy is left is made again at once, in memory, for whoever asks first; the
// others wait for that, and only those who look into its range notice (engine/heal/mend_leaf.h,
// mend_inner.h). Then it is written like one with a bad copy. Where nothing tells, its range is EIO
// and listed, the walk frees nothing (A8), and a merge that needs the leaf declares what it does
// not change lost, so that the pool goes on (B6).
//
// Thread-safety: all methods from any thread. Durability: of what was healed, with the next flush.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/mutex.h"
#include "base/task.h"
#include "base/waiters.h"
#include "blobs/record.h"
#include "engine/heal/survey.h"
#include "engine/image.h"
#include "engine/maps/node_store.h"

namespace lamina {

class PoolState;

class Healer {
 public:
  explicit Healer(PoolState& pool) : pool_(pool) {}

  // The pool serves: what was noted until now, and what will be, is written anew.
  void begin();
  void note_node(NodeId id, const NodeEntry& entry);
  // So many pages of the tables that the pool was opened from.
  void note_tables(uint32_t pages);
  void note_segment(Generation generation);

  // What a checkpoint writes anew of its table.
  std::vector<NodeId> nodes_to_write(const NodeTable& table) const;
  bool has_work() const;
  Task<void> work();  // one round of it
  // Superblocks and slots of all blobs.
  Task<Result<>> heal_fixed_places();
  // All copies of everything are looked at, and what is bad is written anew. How many were bad.
  Task<Result<uint64_t>> heal_all();

  // BlockSource::mend.
  Task<Result<NodeBlock>> mend(NodeId id, NodeEntry entry, Error why);
  // A merge cannot go on without leaves that could not be made again: what was in them is lost from
  // here on, and reads as EIO, until it is written; likewise of others that it meets until it has
  // ended well.
  void declare_lost();
  void end_declaring();

  uint64_t healed() const { return healed_; }
  uint64_t rebuilt() const { return rebuilt_; }

 private:
  struct Failed {
    NodeEntry entry;
    BlockRange range;
    MapId map = MapId::none;
    Error why;
    uint64_t at_ns = 0;
  };
  void start();
  Task<void> work_alone();
  Task<Result<uint64_t>> heal_all_alone();
  void settle_nodes();
  Task<Result<>> write_nodes();
  void tell(uint64_t count, const std::string& what);
  Task<Result<>> heal_superblocks(Epoch epoch, uint64_t& count);
  Task<Result<>> heal_slots(uint64_t& count);
  Task<Result<uint64_t>> heal_segment(Generation generation);
  Task<void> look_at_nodes();
  Task<Result<NodeBlock>> mend_alone(NodeId id, NodeEntry entry, Error why);
  Task<Survey> survey_above(NodeRef node, uint32_t level);
  Task<Result<NodeBlock>> make_again(Survey surveyed, NodeRef node, NodeEntry entry);
  std::optional<Error> failed_before(NodeId id, const NodeEntry& entry) const;
  bool is_kept(NodeId id, const NodeEntry& entry) const;
  NodeBlock lost_leaf(NodeId id, const Failed& failed);
  void list_lost(NodeRef node, const NodePlace& place, bool refuse);
  void take_changes_again(NodeId id);

  PoolState& pool_;
  std::atomic<uint64_t> healed_{0}, rebuilt_{0};
  mutable Mutex mutex_;
  bool begun_ GUARDED_BY(mutex_) = false;
  std::map<NodeId, NodeEntry> nodes_ GUARDED_BY(mutex_);
  std::set<Generation> node_segments_ GUARDED_BY(mutex_);  // that are to be emptied
  std::set<Generation> segments_ GUARDED_BY(mutex_);
  uint32_t tables_ GUARDED_BY(mutex_) = 0;
  bool fixed_places_ GUARDED_BY(mutex_) = false;
  std::map<NodeId, Failed> failed_ GUARDED_BY(mutex_);
  bool declaring_ GUARDED_BY(mutex_) = false;
  // Who mends does so alone, and so does who writes.
  struct Turn {
    Mutex mutex;  // a leaf
    bool taken GUARDED_BY(mutex) = false;
    Waiters waiting GUARDED_BY(mutex);
  };
  static Task<void> take(Turn& turn);
  static void give(Turn& turn);
  Turn mending_, writing_;
};

}  // namespace lamina
