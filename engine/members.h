// SPDX-License-Identifier: Apache-2.0
// Changes of who is a member of the pool, while it serves: a blob is added, emptied, removed. One
// at a time.
//
// What must be durable before what (A13):
//   add       the new disk: what could be found on it is wiped, then its superblocks. Then a slot
//             that names it as a member, on every disk, its own among them. Only then is anything
//             taken from it. Before the slot a crash leaves a disk that is no member, whatever its
//             superblocks say; after it, a member with nothing in it.
//   evacuate  a slot that says that it is leaving, before the caller is answered; so it goes on in
//             the next life. Nothing is taken from it any more. What is in it goes by what holds
//             anyway: data as the mover's targets before the slot that points at them (A15), nodes
//             and tables with the next checkpoints, the log to the segments that it names, none of
//             which is there any more (D9). It is empty when K_old has found nothing that refers
//             to its segments (A4) and their stamps are durable (C4); that they are discarded is
//             what a removal waits for, and nobody else.
//   remove    it is empty: nothing in it is what K_old or K_new refers to, or the log goes on from.
//             A checkpoint, so that no table of segments knows one of it; a slot that does not name
//             it, on all other disks; one more, so that K_old does not name it either; then it is
//             wiped. In between a crash leaves a member that is empty, or a disk that is no member.
//             Where somebody accepts that what cannot be read is lost, it is emptied first: what an
//             evacuation leaves there becomes lost by entries of the log (engine/lost_data.h).
// Thread-safety: all methods from any thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "base/task.h"
#include "base/waiters.h"
#include "blobs/blob.h"
#include "engine/pool.h"

namespace lamina {

class PoolState;

class Members {
 public:
  explicit Members(PoolState& pool) : pool_(pool) {}

  // See Pool.
  Task<Result<>> add(std::shared_ptr<Disk> disk, NewBlob blob);
  Task<Result<>> evacuate(std::string name);
  Task<Result<>> keep(std::string name);
  Task<Result<>> remove(std::string name, bool accepts_loss);

  // Nobody else changes members between them; the first waits.
  Task<void> take_turn();
  void give_turn();

  // Until the blob that is leaving is empty, cannot be emptied, or is to be kept.
  Task<void> empty();
  // Somebody has asked for it since that ended.
  bool to_be_emptied() const;
  EvacuationStatus evacuation() const;
  // Why the newest change was refused or failed; empty: it was not.
  std::string refused() const;
  void set_refused(const Result<>& result);

 private:
  Task<Result<>> alone(std::function<Task<Result<>>()> change);
  Task<Result<>> while_nothing_moves(std::function<Task<void>()> change);
  Task<Result<>> add_alone(std::shared_ptr<Disk> disk, NewBlob blob);
  Task<Result<>> evacuate_alone(std::string name);
  Task<Result<>> keep_alone(std::string name);
  Task<Result<>> remove_alone(std::string name, bool accepts_loss);
  Task<Result<>> empty_with_loss(std::shared_ptr<Blob> blob);

  Result<> begin_change();
  Result<std::shared_ptr<Blob>> find(const std::string& name) const;
  Result<Superblock> superblock_for(const Disk& disk, const NewBlob& blob) const;
  Result<> may_leave(const Blob& blob) const;
  // Whether all that lives in a blob that does not serve has room in those that do.
  Result<> fits(BlobId id) const;
  Result<> try_leave(const Blob& blob);
  Task<Result<>> leave(std::shared_ptr<Blob> blob);
  Task<Result<>> step(BlobId id);
  Task<Result<>> empty(BlobId id);
  void begin_emptying(const Blob& blob);
  void end_emptying(BlobId id, const Result<>& result);
  // Who empties the blob has let go of it, if all that is left to do is to discard.
  Task<void> until_discarded(BlobId id);

  PoolState& pool_;
  mutable Mutex mutex_;
  bool changing_ GUARDED_BY(mutex_) = false;
  Waiters ended_ GUARDED_BY(mutex_);
  EvacuationStatus evacuation_ GUARDED_BY(mutex_);
  Waiters emptied_ GUARDED_BY(mutex_);
  std::string refused_ GUARDED_BY(mutex_);
};

}  // namespace lamina
