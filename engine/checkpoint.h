// SPDX-License-Identifier: Apache-2.0
// Checkpoints: a consistent cut of all the maps at one sequence number, made by merging layers
// into trees while writers go on.
//
// What must be durable before what (A11):
//   1. under the order lock: close the record, close the top layer of every map, copy the device
//      table: the cut;
//   2. merge; write nodes, then the tables, both copies of each;
//   3. wait for all records and seals up to the cut; flush every disk;
//   4. write the slot, both copies on every journal blob; flush them;
//   5. readers move to the new trees, the merged layers go, K_new becomes K_old.
// A crash before the end of 4 leaves K_new and K_old as they were: nothing that they name has been
// written to (the writer takes free segments only, and frees none before 5).
//
// Where any of it fails, or anything else does that was to be durable, the epoch ends (A19), and
// with it a checkpoint that is not published yet, wherever it is: the layers that it closed go with
// the next, its number is not used again, its segments of nodes take no more, and what the mover
// had copied is given up. Its work goes on unseen until it asks for a flush, which
// it does not get, since its epoch is over; then the next attempt begins. A slot that it may have
// written all the same tells the truth: all that it names was durable before, and nothing of it is
// used again before a newer one is K_old.
//
// Thread-safety: all methods from any thread; the work runs where it is awaited.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/task.h"
#include "base/waiters.h"
#include "blobs/slot.h"
#include "engine/image.h"
#include "engine/log/log.h"
#include "engine/map_merges.h"
#include "engine/tables.h"

namespace lamina {

class PoolState;
class Space;

// What the mover has copied: which pointers are to change, in which leaves; and what the checkpoint
// publishes with them: the segments that they lead to (settled then, A5).
struct PendingMoves {
  Epoch epoch = 0;  // that was written in: they end with it
  Relocations relocations;
  std::vector<MovedLeaf> leaves;  // each once
  std::vector<Generation> targets;
  std::set<Generation> victims;
  bool whole = true;    // they are to be empty then
  Sequence walked = 0;  // the cut of the image whose referrers are followed
  bool empty() const { return relocations.empty() && targets.empty(); }
  // These leaves were made since the walk, in that order: what they have of one that is listed,
  // be it over others of them, follows as well.
  void follow(const std::vector<ReshapedLeaf>& reshaped);
  // An alias that came after the walk may say what one that is restated says, and be of another
  // entry of the same home, which the new one does not state (C2). What it shares in is kept by it
  // anyway, so nothing is lost if all aliases there stay. Homes that are victims state nothing new.
  void keep_shared(const Space& space);
};

class Checkpointer {
 public:
  explicit Checkpointer(PoolState& pool);

  // A checkpoint whose cut lies after the beginning of this call. `force`: also where nothing has
  // changed since the last one. `clean`: the slot says that nothing follows. Failures that the pool
  // survives are tried again here; the error is what made it read-only.
  Task<Result<>> run(bool force = false, bool clean = false);
  bool running() const;
  // Runs `work`, which writes where checkpoints do, while none is under way; again, where it fails
  // and the pool survives that. It is told the epoch that it is in.
  Task<Result<>> between(std::function<Task<Result<>>(Epoch)> work);

  // To be published with the next checkpoint. One batch at a time: not while has_moves(), which is
  // so until they have been published, whatever becomes of a checkpoint that took them.
  void add_moves(PendingMoves moves);
  // Before somebody walks the newest image to move something: leaves that are made of others from
  // now on are looked at as well when it is published, if those are in the walk's list.
  // False: they are watched for a batch that is to be published still, and nothing may be moved.
  bool watch_leaves();
  bool has_moves() const;
  // A walk found that the maps of that image refer to so many blocks of data, not counting any
  // twice.
  void set_used_blocks(const Image& image, uint64_t blocks);

  // The epoch ends, and with it the checkpoint under way; whether there is one. Under the order
  // lock.
  bool abandon();

  // Nodes that a walk of image `seen_in` could not reach: they leave the table at the next
  // checkpoint, unless they were written since.
  void drop_nodes(std::vector<NodeId> unreachable, CheckpointNumber seen_in);
  bool has_unreachable() const;
  // For those who make nodes again. Of the checkpoint under way: what it drops; what the inner
  // nodes that it has made refer to; whether it is writing a node again as it found it.
  std::vector<NodeId> dropping() const;
  std::vector<NodeId> referred_to() const;
  bool is_rewriting(NodeId id) const;
  void note_children(const std::vector<Child>& children);  // by who makes an inner node
  // A tree of an image that was the newest has these nodes after all (what its table does not have
  // is passed over): no checkpoint drops them. `taken`: ids that had another meaning. False: the
  // checkpoint under way drops some of the ones, or refers to some of the others, or has done so.
  bool keep_nodes(std::vector<std::pair<NodeId, NodeEntry>> nodes, const std::vector<NodeId>& taken,
                  const Image& seen_in);

  // What recovery found, to go on from.
  struct Resume {
    CheckpointNumber number = 0;
    CheckpointNumber oldest_backed = 0;
    // Of no attempt that was ever begun, failed or died: its nodes may lie on the medium (A12).
    CheckpointNumber next_number = 0;
    Sequence cut = 0;
    NodeId next_node{1};
    std::vector<Generation> tables;  // segments that hold its tables
    uint64_t metadata_bytes = 0, extents = 0, used_blocks = 0;
  };
  void resume(const Resume& at);

  Sequence cut() const;                    // of the newest committed one
  CheckpointNumber number() const;         // of the newest committed one
  CheckpointNumber oldest_backed() const;  // K_old's
  // Of K_old or K_new.
  std::set<Generation> tables_segments(CheckpointNumber number) const;
  uint64_t metadata_bytes() const;  // nodes + tables of the newest, one copy
  uint64_t extents() const;         // in all trees of the newest
  uint64_t used_blocks() const;     // of data, at most; what is shared counts once

 private:
  struct Cut;
  struct Made;
  Task<Result<bool>> begin_turn(Sequence wanted);
  void end_turn();
  Result<> take_cut(Cut& cut);
  Task<Result<>> once(bool clean);
  Task<Result<>> make(Cut& cut, Made& made, bool clean);
  void drop_unreachable(const Cut& cut, Made& made);
  void forget_work() REQUIRES(mutex_);
  void give_back(Cut& cut, const Made& made);
  Task<Result<>> merge_all(Cut& cut, Made& made);
  bool leaves_a_blob(const PendingMoves& moves) const;
  void postpone(const Cut& cut, const Made& made);
  Task<Result<>> rewrite_sparse_nodes(Made& made);
  Task<Result<>> rewrite_leaving_nodes(Made& made);
  Task<Result<>> rewrite_damaged_nodes(Made& made);
  Task<Result<>> rewrite_nodes(const std::vector<NodeId>& moving, Made& made);
  Task<Result<>> write_tables(Cut& cut, Made& made, Slot& slot);
  Task<Result<>> write_slot(const Slot& slot);
  bool publish(Cut& cut, Made& made);
  uint64_t left_behind(const PendingMoves& moves, const Made& made) const;

  PoolState& pool_;
  bool cut_under_way_ = false;  // guarded by the order lock
  mutable Mutex mutex_;
  bool running_ GUARDED_BY(mutex_) = false;
  Waiters ended_ GUARDED_BY(mutex_);
  PendingMoves moves_ GUARDED_BY(mutex_);
  bool watching_ GUARDED_BY(mutex_) = false;
  std::vector<ReshapedLeaf> reshaped_ GUARDED_BY(mutex_);  // while watching
  bool moves_taken_ GUARDED_BY(mutex_) = false;            // by the checkpoint under way
  std::vector<NodeId> unreachable_ GUARDED_BY(mutex_);
  CheckpointNumber unreachable_in_ GUARDED_BY(mutex_) = 0;
  // By the checkpoint under way.
  std::unordered_set<NodeId> dropping_ GUARDED_BY(mutex_);
  std::unordered_set<NodeId> rewriting_ GUARDED_BY(mutex_);
  std::vector<NodeId> referred_to_ GUARDED_BY(mutex_);
  // Until they are written again.
  std::unordered_map<NodeId, NodeEntry> kept_ GUARDED_BY(mutex_);
  CheckpointNumber number_ GUARDED_BY(mutex_) = 0;
  CheckpointNumber oldest_backed_ GUARDED_BY(mutex_) = 0;
  CheckpointNumber next_number_ GUARDED_BY(mutex_) = 1;
  Sequence cut_ GUARDED_BY(mutex_) = 0;
  uint64_t next_node_ GUARDED_BY(mutex_) = 1;
  // Which segments hold the tables of the last two, the newest last.
  std::vector<std::pair<CheckpointNumber, std::vector<Generation>>> tables_ GUARDED_BY(mutex_);
  uint64_t metadata_bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t extents_ GUARDED_BY(mutex_) = 0;
  std::atomic<uint64_t> used_blocks_ = 0;        // changed under the mutex, read at every write
  int64_t added_blocks_ GUARDED_BY(mutex_) = 0;  // by all checkpoints of this life
};

// How many generations one epoch may issue between two slots: what a recovery jumps over (A3).
// Space asserts it. Node ids have no such bound and need none: a node is its id and its version,
// and no two attempts at a checkpoint have the same number (Resume::next_number).
uint32_t generation_quota(uint64_t segments);

}  // namespace lamina
