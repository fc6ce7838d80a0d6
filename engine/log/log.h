// SPDX-License-Identifier: Apache-2.0
// The log: one order of entries for the whole pool, one open record, group commit. Entries are
// numbered and copied into the tail's memory in one step under the order lock, which never waits;
// records go out as they fill, at the next flush, or after flush_after.
//
// What must be durable before what:
//   - durable() = n promises that every entry up to n is on the medium: all records up to it have
//     been written, and then every disk that one of them went to has been flushed (A1).
//   - The log runs at most chain_length - 1 segments ahead of the newest one with a durable record
//     (A3): so the last segment that a durable header names was never written by this epoch, and
//     recovery can go on there.
//   - A segment's memory is given up only when it is sealed and durable (A19).
//
// Thread-safety: methods marked REQUIRES(order()) under that lock; the rest from any thread.
// Errors: after a failed write or flush nothing is trusted any more: every method that would
// change something fails with the reason, reads go on.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <span>

#include "base/mutex.h"
#include "base/task.h"
#include "base/waiters.h"
#include "engine/counters.h"
#include "engine/log/seal.h"
#include "engine/log/tail.h"
#include "engine/settings.h"
#include "engine/space/space.h"

namespace lamina {

// Where roll-forward begins after a cut.
struct LogPosition {
  SegmentName segment{};
  uint32_t block = 0;
  SegmentChain next{};
  uint64_t last_checksum = 0;  // of the last record's header; 0: none in this log yet
  Sequence last = 0;           // number of the last entry before it
  Sequence durable = 0;
};

// Which checkpoints record headers name (A13).
struct BackedCheckpoints {
  CheckpointNumber newest = 0, oldest = 0;
};

// What every writer of segments needs to know of the pool.
struct PoolIdentity {
  Uuid pool{};
  Secret secret{};
  Epoch epoch = 0;
};

class Log {
 public:
  Log(const PoolIdentity& identity, const Settings& settings, Space& space, Sums& sums,
      Counters& counters);
  ~Log();

  Mutex& order() RETURN_CAPABILITY(order_) { return order_; }

  // Starts this epoch in `segment`, which the chain names: writes and flushes its first record,
  // which cuts what came before at `last` (A3). Nothing else is called before it has ended.
  Task<Result<>> start(SegmentName segment, Sequence last, uint64_t cut_checksum,
                       BackedCheckpoints backed);
  // Of a new pool: names the segments that its log will begin in, without writing.
  Result<> name_first();

  // A step: entries that one record must hold together. First make sure of room, outside or under
  // the lock; then, without letting go of it, begin() and add() each entry.
  // Of payload, and a quarter of a segment. So small that several share a header where one writes
  // much at once.
  static constexpr uint32_t max_step_blocks = 128;
  uint32_t step_blocks() const;
  // A device that streams stops a segment earlier behind a slow disk than one that does not, so
  // that it never stands in the other's way.
  enum class Pace : uint8_t { steady, streaming };
  bool has_room(uint32_t payload_blocks, Claim claim, Pace pace = Pace::steady) REQUIRES(order_);
  // Waits until has_room() may be true. Error: read_only; no_space where reclaiming is hopeless.
  Task<Result<>> wait_for_room(uint32_t payload_blocks, Claim claim, Pace pace = Pace::steady);
  // Counts the segments that the log was in, by which a device knows its pace.
  uint64_t ordinal() const REQUIRES(order_) { return current_->ordinal; }
  void begin(size_t packed_bytes, uint32_t payload_blocks, Claim claim) REQUIRES(order_);
  // Numbers the entry, places its payload (padded with zeroes to whole blocks); the result says
  // where. The reference is good until the next call.
  const Entry& add(Entry entry, std::span<const std::byte> payload) REQUIRES(order_);

  // Everything up to `through` is durable when it returns; at once if it is already.
  Task<Result<>> flush(Sequence through);
  // Somebody syncs what he wrote, all up to `through`. He will do so again: so that the next flush
  // finds the next few entries written already, they go out at once where the disk has nothing else
  // of the log to do, and durably where he syncs each of them.
  void expect_sync(Sequence through);
  Sequence last() const REQUIRES(order_) { return last_; }
  // Of the segment that the entry added last lies in.
  Generation current_generation() const REQUIRES(order_) { return current_->name.generation; }
  Sequence durable() const;
  // Flushes every disk, for those who wrote something else than log. One flush at a time, whoever
  // wants it: a failed one may have dropped what another would then seem to have kept (A19).
  Task<Result<>> flush_all_disks();

  // Closes the open record and says where the log goes on: a cut (A10).
  LogPosition cut() REQUIRES(order_);
  // Until every full segment whose entries are all up to `through` has been sealed.
  Task<Result<>> wait_sealed(Sequence through);
  void set_backed(BackedCheckpoints backed);

  // Ends the timer; nothing is added any more.
  Task<void> stop();
  // After stop(): seals the open segment, so that the next life has nothing to read of this log.
  Task<Result<>> finish();
  // The first failure, or ok.
  Result<> health() const;
  void fail_with(const Error& why);
  // Segments have become free: whoever waits for room looks again.
  void space_changed();

  Tail& tail() { return tail_; }
  uint64_t bytes_since_cut() const;
  uint64_t entry_limit() const;  // of entries that may wait to be merged
  uint64_t tail_bytes() const;
  // Segments that are the log's: the current one and those it will use next.
  std::vector<Generation> held() const;

  // Called, without the lock, where space is short for `claim`: returns when it may be worth
  // looking again, or no_space. Set once before use.
  std::function<Task<Result<>>(Claim)> reclaim;
  // Called, without the lock, where too much is waiting to be merged into the maps: returns when
  // it has been. Set once before use.
  std::function<Task<Result<>>()> merge;
  // Called with the lock held whenever a record is closed: bytes and entries since the last cut.
  // Must not wait. Set once before use.
  std::function<void(uint64_t bytes, uint64_t entries)> on_record;
  // Called with the lock held whenever the log goes on in another segment: how long it was in the
  // one before. Must not wait. Set once before use.
  std::function<void(uint64_t in_ns)> on_segment;
  // Called with the lock held at the first failure. Set once before use.
  std::function<void(const Error&)> on_failure;

 private:
  struct InFlight {
    std::shared_ptr<TailSegment> segment;
    uint32_t begin = 0, end = 0;  // blocks
    Sequence last = 0;
    bool through = false;  // durable as soon as it is written
    bool written = false;
  };
  enum class Room : uint8_t { yes, after_flush, after_space, after_merge };

  size_t held_limit() const;
  Room room(uint32_t payload_blocks, Claim claim, Pace pace) REQUIRES(order_);
  bool segment_to_make_durable() const REQUIRES(order_);
  bool current_takes(size_t packed_bytes, uint32_t payload_blocks, bool in_open_record) const
      REQUIRES(order_);
  std::shared_ptr<TailSegment> open_segment(const SegmentName& name) REQUIRES(order_);
  Result<> name_next() REQUIRES(order_);
  void switch_segment(Claim claim) REQUIRES(order_);
  void open_record() REQUIRES(order_);
  void close_record(bool through = false) REQUIRES(order_);
  void maybe_seal(const std::shared_ptr<TailSegment>& segment) REQUIRES(order_);
  void made_durable(Sequence goal) REQUIRES(order_);
  void release_durable() REQUIRES(order_);
  void start_timer() REQUIRES(order_);

  Task<void> write_early();
  Task<void> write_record(std::shared_ptr<InFlight> record);
  Task<void> seal(std::shared_ptr<TailSegment> segment);
  void start_flush(Sequence through) REQUIRES(order_);
  Task<void> flush_and_forget(Sequence through);
  Task<void> take_turn();
  void end_turn();
  Task<Result<>> flush_round();
  Task<Result<>> flush_disks(std::set<BlobId> blobs, Sequence goal);
  Task<void> timer();
  void fail_locked(const Error& why) REQUIRES(order_);

  const PoolIdentity& identity_;
  const Settings& settings_;
  Space& space_;
  Sums& sums_;
  Counters& counters_;
  Tail tail_;

  mutable Mutex order_;
  std::shared_ptr<TailSegment> current_ GUARDED_BY(order_);
  SegmentChain next_ GUARDED_BY(order_);
  std::deque<std::shared_ptr<TailSegment>> held_ GUARDED_BY(order_);  // in the tail, oldest first
  std::vector<Buffer> spare_ GUARDED_BY(order_);  // memory of segments, kept mapped for the next
  // The open record; no entries: none is open.
  RecordBody body_ GUARDED_BY(order_);
  size_t body_packed_ GUARDED_BY(order_) = 0;
  uint32_t record_block_ GUARDED_BY(order_) = 0;
  RecordBody previous_ GUARDED_BY(order_);
  Address previous_at_ GUARDED_BY(order_){};
  uint64_t last_checksum_ GUARDED_BY(order_) = 0;
  bool starts_epoch_ GUARDED_BY(order_) = false;
  Sequence cut_sequence_ GUARDED_BY(order_) = 0;
  uint64_t cut_checksum_ GUARDED_BY(order_) = 0;
  BackedCheckpoints backed_ GUARDED_BY(order_);

  std::deque<std::shared_ptr<InFlight>> in_flight_ GUARDED_BY(order_);
  std::set<BlobId> unflushed_ GUARDED_BY(order_);  // disks written since their last flush
  Sequence last_ GUARDED_BY(order_) = 0;           // given out
  Sequence closed_ GUARDED_BY(order_) = 0;         // in closed records
  Sequence written_ GUARDED_BY(order_) = 0;        // and written, all up to it
  Sequence durable_ GUARDED_BY(order_) = 0;
  Sequence witnessed_ GUARDED_BY(order_) = 0;        // some header says it was durable (B5)
  uint64_t durable_ordinal_ GUARDED_BY(order_) = 0;  // of the newest segment with a durable record
  uint64_t since_cut_ GUARDED_BY(order_) = 0;        // bytes
  Sequence cut_last_ GUARDED_BY(order_) = 0;         // the last entry before the newest cut
  uint32_t early_left_ GUARDED_BY(order_) = 0;       // records that may still go out by themselves
  bool early_started_ GUARDED_BY(order_) = false;
  bool early_flush_ GUARDED_BY(order_) = false;
  Sequence synced_ GUARDED_BY(order_) = 0;  // the newest that somebody has asked for
  bool flushing_ GUARDED_BY(order_) = false;
  bool flush_started_ GUARDED_BY(order_) = false;  // one that nobody awaits
  uint32_t want_room_ GUARDED_BY(order_) = 0;      // who wait for segments to become durable
  bool timer_runs_ GUARDED_BY(order_) = false;
  bool stopping_ GUARDED_BY(order_) = false;
  bool failed_ GUARDED_BY(order_) = false;
  Error why_ GUARDED_BY(order_);
  uint32_t background_ GUARDED_BY(order_) = 0;  // coroutines of this that nobody awaits
  Waiters changed_ GUARDED_BY(order_);          // woken at every change that somebody may await
};

}  // namespace lamina
