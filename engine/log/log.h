// SPDX-License-Identifier: Apache-2.0
// The log: one order of entries for the whole pool, one open record, group commit. Entries are
// numbered and copied into the tail's memory in one step under the order lock, which never waits;
// records go out as they fill, at the next flush, or after flush_after.
//
// What must be durable before what:
//   - durable() = n promises that every entry up to n is on the medium: all records up to it have
//     been written, and then every disk that one of them went to has been flushed (A1).
//   - The log runs no further ahead of the newest segment with a durable record than leaves the
//   last
//     ones that its headers name unwritten (A3, engine/log/chain.h): so recovery can go on there.
//   - A segment's memory is given up only when it is sealed and durable; what its seal was made of
//     only when the seal is durable too (A19).
//
// A failed write or flush, of the log, a checkpoint or the mover, is a crash survived live (A19).
// After it nothing is trusted that was not durable before, and no flush is tried again:
//   1. users wait; what is under way ends, one way or the other;
//   2. a disk that fails still, or again, is given up where another one can take the log: nothing
//      is placed on it any more, and nothing need reach it (Disk::give_up);
//   3. the epoch is cut at durable(), a boundary of records. The next one begins where a recovery
//      would begin it: in the last of the segments that the headers of the newest segment with a
//      durable record name whose disk works (A3). Nobody has written there. A checkpoint under way,
//      and what the mover has copied for the next one, come to nothing;
//   4. its first record says the cut and holds the first step past it, and is made durable alone:
//      so a recovery that does not find it has nothing else of that epoch to mistake for its own;
//   5. then the rest of the tail is written again from memory: the same entries under the same
//      numbers, in order, in the same steps. What waits for a flush is answered by a flush of the
//      new epoch only;
//   6. in one step under the order lock the layers are pointed at the new places, newest entry
//      first: the old address is one entry's alone, and of several facts with one home the newest
//      has its place already when an older one looks. Then users go on, and a checkpoint follows;
//   7. what was durable of the old segments is sealed, without the entries that are void; seals
//      that no flush covered are made again. Segments that hold only void entries, and those that
//      were named and never written, are retired, stamped and free at once (D10).
// A crash before 4 ends finds the old epoch as it was, with all that was durable; a later one finds
// the cut. Where it fails again meanwhile, or several times without a checkpoint in between, or
// where no segment is left, the pool turns read-only; what was not durable stays readable.
//
// Thread-safety: methods marked REQUIRES(order()) under that lock; the rest from any thread.
// Errors: once the pool is read-only every method that would change something fails with the
// reason, reads go on.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>

#include "base/mutex.h"
#include "base/task.h"
#include "base/waiters.h"
#include "engine/counters.h"
#include "engine/log/repeated.h"
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

// Which epoch the pool is in. It goes up while others look (A19), under the order lock.
class CurrentEpoch {
 public:
  CurrentEpoch() = default;
  CurrentEpoch(const CurrentEpoch& other) : value_(other.value_.load()) {}
  CurrentEpoch& operator=(const CurrentEpoch&) = delete;
  CurrentEpoch& operator=(Epoch value) {
    value_ = value;
    return *this;
  }
  operator Epoch() const { return value_; }

 private:
  std::atomic<Epoch> value_{0};
};

// What every writer of segments needs to know of the pool.
struct PoolIdentity {
  Uuid pool{};
  Secret secret{};
  CurrentEpoch epoch;
};

// Where an entry lies since it was written again: its payload, or, of an entry without any, the
// home that it is.
struct Rewritten {
  MapId map = MapId::none;
  Sequence sequence = 0;
  Swap swap;
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
  // Of a pool without a log: names the segments that it will begin in, behind entry `last`, without
  // writing.
  Result<> name_first(Sequence last = 0);
  // From now on failures are survived. Before, and in a pool that is only made, the first is the
  // end.
  void serve();

  // A step: entries that one record must hold together. First make sure of room, outside or under
  // the lock; then, without letting go of it, begin() and add() each entry.
  // Of payload, and a quarter of a segment. So small that several share a header where one writes
  // much at once.
  static constexpr uint32_t max_step_blocks = 128;
  uint32_t step_blocks() const;
  // The most that the entries of a step which can be divided take packed.
  static constexpr size_t worst_step_bytes = 1024;
  // The most that a step which cannot be divided may take: what one header has checksums for, and
  // half of a segment.
  uint32_t largest_step_blocks() const;
  // A device that streams stops a segment earlier behind a slow disk than one that does not, so
  // that it never stands in the other's way.
  enum class Pace : uint8_t { steady, streaming };
  bool has_room(uint32_t payload_blocks, Claim claim, Pace pace = Pace::steady) REQUIRES(order_);
  // Waits until has_room() may be true. Error: read_only; no_space where reclaiming is hopeless.
  Task<Result<>> wait_for_room(uint32_t payload_blocks, Claim claim, Pace pace = Pace::steady);
  // Counts the segments that the log was in, by which a device knows its pace.
  uint64_t ordinal() const REQUIRES(order_) { return current_->ordinal; }
  void begin(size_t packed_bytes, uint32_t payload_blocks) REQUIRES(order_);
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
  // Flushes every disk, for those who wrote something else than log in that epoch. One flush at a
  // time, whoever wants it: a failed one may have dropped what another would then seem to have
  // kept. Error io also where the epoch has ended since: then nobody knows what of it is on the
  // disks (A19).
  Task<Result<>> flush_all_disks(Epoch written_in);

  // Closes the open record and says where the log goes on: a cut (A10). Only while it works().
  LogPosition cut() REQUIRES(order_);
  // Until every full segment whose entries are all up to `through` has been sealed.
  Task<Result<>> wait_sealed(Sequence through);
  // A checkpoint is true that holds everything up to `cut`.
  void set_backed(BackedCheckpoints backed, Sequence cut);
  // Everything since the newest checkpoint that no data says of itself is outside the log as well.
  bool repeats_all() const REQUIRES(order_) { return repeated_.complete(); }

  // Ends the timer; nothing is added any more.
  Task<void> stop();
  // After stop(): seals the open segment, so that the next life has nothing to read of this log.
  Task<Result<>> finish();
  // Why the pool is read-only, or ok.
  Result<> health() const;
  Result<> health_now() const REQUIRES(order_);
  // Something failed that was done in that epoch; nothing, if that has ended already. Errors of
  // disks are survived (A19), others not.
  void fail_with(const Error& why, Epoch epoch);
  // Neither read-only nor just surviving a failure.
  bool works() const REQUIRES(order_) { return phase_ == Phase::works; }
  // Until it works. Error: it is read-only.
  Task<Result<>> wait_until_works();
  // Segments have become free: whoever waits for room looks again.
  void space_changed();

  Tail& tail() { return tail_; }
  uint64_t bytes_since_cut() const;
  uint64_t entry_limit() const;  // of entries that may wait to be merged
  uint64_t tail_bytes() const;
  // Of a segment that has no summary yet: how many of its blocks [begin, end) are of entries newer
  // than that. Nothing: it is not of the log, or has one.
  std::optional<uint64_t> newer_entries(Generation generation, uint64_t begin, uint64_t end,
                                        Sequence than) const;
  // Of such a segment: the entries up to that which have no payload.
  std::optional<std::vector<Entry>> facts(Generation generation, Sequence until) const;
  // D9: the log goes on somewhere else than on that blob, of which nothing is taken any more: in
  // the segment that it has named next, and again, until none that it is in or has named lies
  // there, or something is taken of it again. What roll-forward begins from lies behind it with the
  // next cut. Errors: read_only;
  // no_space.
  Task<Result<>> leave(BlobId blob);
  // While no flush is under way, and none of that disk is owed: nothing is written to it any more.
  Task<void> between_flushes(BlobId blob, std::function<void()> work);
  // Segments that are the log's: the current one and those it will use next.
  std::vector<Generation> held() const;

  // Called, without the lock, where space is short for `claim`: returns when it may be worth
  // looking again, or no_space. Set once before use.
  std::function<Task<Result<>>(Claim)> reclaim;
  // Called, without the lock, where too much is waiting to be merged into the maps: returns when
  // it has been. Set once before use.
  std::function<Task<Result<>>()> merge;
  // Called with the lock held whenever a record is closed: bytes and entries since the last cut,
  // and repeats_all(). Must not wait. Set once before use.
  std::function<void(uint64_t bytes, uint64_t entries, bool repeats_all)> on_record;
  // Called with the lock held whenever the log goes on in another segment: how long it was in the
  // one before. Must not wait. Set once before use.
  std::function<void(uint64_t in_ns)> on_segment;
  // Called with the lock held when the pool turns read-only. Set once before use.
  std::function<void(const Error&)> on_failure;
  // A failure is being survived. All three are called with the lock held, must not wait, and are
  // set once before use: the epoch ends at `cut`, the next one is to be the pool's, and the result
  // says whether a checkpoint was under way, which has come to nothing; what was written again, the
  // newest entry first; it is over.
  std::function<bool(Sequence cut)> on_cut;
  std::function<void(std::span<const Rewritten>)> on_rewritten;
  std::function<void(const Error& why, uint64_t entries)> on_survived;
  // Called with the lock held: the blob's disk has failed, and the pool goes on without writing to
  // it. Must not wait. Set once before use.
  std::function<void(const Blob& blob, const Error& why)> on_given_up;

 private:
  struct InFlight {
    std::shared_ptr<TailSegment> segment;
    uint32_t begin = 0, end = 0;  // blocks
    Sequence last = 0;
    bool through = false;  // durable as soon as it is written
    bool written = false;
  };
  enum class Room : uint8_t { yes, after_flush, after_space, after_merge };
  enum class Phase : uint8_t {
    works,
    ends,    // something failed; what is under way of this epoch is waited for
    begins,  // the next epoch has begun, the tail is being written again
    failed,  // read-only
  };
  struct RecordEnd {
    Sequence last = 0;  // entry
    uint64_t checksum = 0;
    uint32_t end = 0;  // first block behind it
  };
  // A step that has to be written again, out of the memory of the segment that it was in.
  struct LostStep {
    std::shared_ptr<TailSegment> segment;
    SegmentSums sums;
    std::vector<Entry> entries;
    uint32_t payload_blocks = 0;
    size_t packed_bytes = 0;  // at most
  };

  size_t held_limit() const;
  bool goes_on_in(BlobId blob) const REQUIRES(order_);
  uint32_t whole_segment() const REQUIRES(order_);
  const TailSegment* unsealed(Generation generation) const REQUIRES(order_);
  Room room(uint32_t payload_blocks, Claim claim, Pace pace) REQUIRES(order_);
  bool segment_to_make_durable() const REQUIRES(order_);
  bool current_takes(size_t packed_bytes, uint32_t payload_blocks, bool in_open_record) const
      REQUIRES(order_);
  std::shared_ptr<TailSegment> open_segment(const SegmentName& name) REQUIRES(order_);
  Result<> name_next() REQUIRES(order_);
  bool may_run_ahead(size_t kept_for_others) const REQUIRES(order_);
  SegmentName named_at(uint64_t ordinal) const REQUIRES(order_);
  bool may_switch(Claim claim) REQUIRES(order_);
  void switch_segment() REQUIRES(order_);
  const Entry& put(Entry entry, std::span<const std::byte> payload, const uint32_t* sums)
      REQUIRES(order_);
  void open_record() REQUIRES(order_);
  void close_record(bool through = false) REQUIRES(order_);
  void maybe_seal(const std::shared_ptr<TailSegment>& segment) REQUIRES(order_);
  void release_durable() REQUIRES(order_);
  void made_durable(Sequence goal, const std::vector<Generation>& seals) REQUIRES(order_);
  void start_timer() REQUIRES(order_);
  // The newest cut came to nothing: what it covered counts as waiting again.
  void uncut() REQUIRES(order_);
  void begin_epoch(const SegmentName& segment, Sequence cut, uint64_t cut_checksum)
      REQUIRES(order_);

  Task<void> write_early();
  Task<void> write_record(std::shared_ptr<InFlight> record);
  Task<void> seal(std::shared_ptr<TailSegment> segment);
  void start_flush(Sequence through) REQUIRES(order_);
  Task<void> flush_and_forget(Sequence through);
  Task<void> take_turn();
  void end_turn();
  Task<Result<>> flush_round();
  Task<Result<>> flush_disks(std::set<BlobId> blobs, Sequence goal);
  std::vector<Generation> seals_on(const std::set<BlobId>& blobs) const REQUIRES(order_);
  Task<void> timer();
  Task<void> mark_durable();

  // --- engine/log/survive.cpp
  void fail_locked(const Error& why, Epoch epoch) REQUIRES(order_);
  void give_up(const Error& why) REQUIRES(order_);
  Task<void> survive();
  Task<void> wait_until_idle();
  Task<Result<uint64_t>> begin_again();
  Task<void> give_up_failing();
  static Task<bool> still_works(Blob& blob, std::optional<SegmentName> unused);
  size_t unwritten() const REQUIRES(order_);
  bool can_do_without(BlobId id) const REQUIRES(order_);
  std::optional<size_t> where_to_begin() const REQUIRES(order_);
  std::vector<LostStep> take_lost_steps() REQUIRES(order_);
  std::vector<std::shared_ptr<TailSegment>> end_segments() REQUIRES(order_);
  void cut_off(TailSegment& segment) REQUIRES(order_);
  Task<Result<>> write_again(std::vector<LostStep>& steps, std::vector<Rewritten>& again);
  Room room_again(const LostStep& step) REQUIRES(order_);
  void write_step_again(LostStep& step, std::vector<Rewritten>& again) REQUIRES(order_);
  void let_go(const std::vector<std::shared_ptr<TailSegment>>& dead,
              const std::vector<SegmentName>& unused) REQUIRES(order_);

  const PoolIdentity& identity_;
  const Settings& settings_;
  Space& space_;
  Sums& sums_;
  Counters& counters_;
  Tail tail_;

  mutable Mutex order_;
  std::shared_ptr<TailSegment> current_ GUARDED_BY(order_);
  SegmentChain next_ GUARDED_BY(order_);
  std::optional<Space::Permit> permit_ GUARDED_BY(order_);            // to name one more
  std::deque<std::shared_ptr<TailSegment>> held_ GUARDED_BY(order_);  // in the tail, oldest first
  // Sealed and durable, but not the seals: what they would be made of again, no memory.
  std::deque<std::shared_ptr<TailSegment>> sealed_ GUARDED_BY(order_);
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
  RecordEnd durable_end_ GUARDED_BY(order_);              // of the record that durable_ ends
  std::deque<RecordEnd> record_ends_ GUARDED_BY(order_);  // of those closed since
  Sequence witnessed_ GUARDED_BY(order_) = 0;             // some header says it was durable (B5)
  Sequence marked_ GUARDED_BY(order_) = 0;                // so does the mark outside the log
  RepeatedEntries repeated_ GUARDED_BY(order_);           // by it
  uint64_t durable_ordinal_ GUARDED_BY(order_) = 0;   // of the newest segment with a durable record
  uint64_t since_cut_ GUARDED_BY(order_) = 0;         // bytes
  Sequence cut_last_ GUARDED_BY(order_) = 0;          // the last entry before the newest cut
  uint64_t before_cut_bytes_ GUARDED_BY(order_) = 0;  // as they were before the newest cut
  Sequence before_cut_last_ GUARDED_BY(order_) = 0;
  uint32_t early_left_ GUARDED_BY(order_) = 0;  // records that may still go out by themselves
  bool early_started_ GUARDED_BY(order_) = false;
  bool early_flush_ GUARDED_BY(order_) = false;
  Sequence synced_ GUARDED_BY(order_) = 0;  // the newest that somebody has asked for
  bool flushing_ GUARDED_BY(order_) = false;
  bool flush_started_ GUARDED_BY(order_) = false;  // one that nobody awaits
  uint32_t want_room_ GUARDED_BY(order_) = 0;      // who wait for segments to become durable
  bool timer_runs_ GUARDED_BY(order_) = false;
  bool stopping_ GUARDED_BY(order_) = false;
  Phase phase_ GUARDED_BY(order_) = Phase::works;
  Error why_ GUARDED_BY(order_);              // of the newest failure
  bool serving_ GUARDED_BY(order_) = false;   // failures are survived
  uint32_t survived_ GUARDED_BY(order_) = 0;  // since the newest checkpoint
  struct Trouble {
    uint64_t failures = 0;  // of its disk, when it was last looked at
    uint32_t times = 0;     // that some were survived since the newest checkpoint
  };
  std::map<BlobId, Trouble> troubles_ GUARDED_BY(order_);
  std::set<BlobId> failing_ GUARDED_BY(order_);  // whose disks have made this epoch end
  uint32_t sealing_ GUARDED_BY(order_) = 0;      // segments
  uint32_t background_ GUARDED_BY(order_) = 0;   // coroutines of this that nobody awaits
  Waiters changed_ GUARDED_BY(order_);           // woken at every change that somebody may await
};

}  // namespace lamina
