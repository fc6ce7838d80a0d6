// SPDX-License-Identifier: Apache-2.0
// The segments of all blobs: where each generation lies, what is free, and who may take it. Free
// space is a set of whole free segments for each tier; that is all the allocator there is. Who may
// take the last ones is said in engine/space/claims.h.
// A tier is a number here, 0 the first: the blobs of one rank, which are of one kind, and over
// which segments are striped. The first has the log and the nodes; the others have what the mover
// brings, and, so that both copies of a node are not on one disk, the second copies where the first
// tier is one blob. Nothing is taken from a blob that does not serve, and it is no room either:
// claims, capacity and low marks are of those that do. Thread-safety: all methods from any thread.
// Counts of live blocks and homes are hints: a wrong one may cost space, never data; only a walk
// frees (A4).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "blobs/blob.h"
#include "blobs/record.h"
#include "engine/maps/tree.h"
#include "engine/space/claims.h"
#include "engine/space/stripe.h"

namespace lamina {

enum class SegmentUse : uint8_t {
  free = 0,
  open = 1,     // being filled, or named as one of the next two of the log
  sealed = 2,   // filled; has its summaries
  retired = 3,  // dead for certain, waiting for its stamp and discard
  stuck = 4,    // could not be read when it was to be emptied: left where it is (B6)
};

struct Segment {
  SegmentName name{};
  SegmentUse use = SegmentUse::free;
  SegmentClass kind = SegmentClass::log;
  // The segment is settled for every image whose cut is at or past this (A5); of nodes, whose
  // number is: they have none of the log's. 0: not yet.
  uint64_t settled = 0;
  // The newest copy that shares something in it: another pointer, in the maps from there on (A5).
  // Of this life only: what a checkpoint does not know of it, roll-forward finds again.
  Sequence shared = 0;
  Sequence oldest = 0;  // the oldest entry whose data is in it; 0: not known
  // A walk found nothing that refers to it in that checkpoint's image; 0: not found dead.
  CheckpointNumber dead_in = 0;
  int64_t live_blocks = 0;          // hint: data blocks that maps refer to
  int64_t homes = 0;                // hint: zero, lost and alias extents whose home it is
  uint32_t used_blocks = 0;         // where its payload ends
  uint32_t addressed = 0;           // of frames: blocks that they hold; 0 where blocks are plain
  bool prepared = false;            // free, and its space is allocated and written (files)
  bool stamped = false;             // retired, durably: only its discard is left; of this life only
  bool emptied = false;             // what lived in it may be elsewhere now; of this life only
  CheckpointNumber not_before = 0;  // the mover leaves it alone until then; of this life only
  // Hint: of its live blocks, those that are not to age away, as of when somebody last looked.
  uint64_t pinned = 0;
  // Hint: of its live blocks, those that only read-only snapshots have, as the newest walk found.
  uint64_t of_snapshots = 0;
  uint64_t reads = 0;  // blocks that users have read of it, less half each time data ages

  // Whether data lies in it, and facts.
  bool holds_data() const { return kind == SegmentClass::log || is_moved(kind); }
  // Whether all that will lie in it does.
  bool is_filled() const { return use == SegmentUse::sealed || use == SegmentUse::stuck; }
  // Kept away from others by a repair, since nobody could tell what lies there (B2).
  bool is_kept_away() const {
    return kind == SegmentClass::log && is_filled() && used_blocks == 0;
  }
  // Blocks of the medium that so many of its data blocks take; the hint of those that are live.
  uint64_t room_of(uint64_t blocks) const {
    return addressed == 0 ? blocks : div_up(blocks * used_blocks, addressed);
  }
  uint64_t live_room() const {
    return room_of(static_cast<uint64_t>(std::max<int64_t>(0, live_blocks)));
  }
  // Whether every pointer into it that an image of that cut may lack is of no log to come (A5).
  bool settled_before(uint64_t cut) const {
    return settled != 0 && settled <= cut && shared <= cut;
  }
};

struct SpaceCounts {
  uint64_t total = 0, free = 0, open = 0, sealed = 0, retired = 0;
  int64_t live_blocks = 0, homes = 0;
  uint64_t node_segments = 0;
};

class Space final : public LiveCounts {
 public:
  // `reserve_percent` of what data can lie in is kept back from users, and 7 at least (D5).
  explicit Space(Blobs blobs, double reserve_percent = 0);

  // Tiers come and go with their blobs: in one that is not there (any more) there is no room.
  size_t tier_count() const { return tier_count_; }
  Blobs blobs_of(size_t tier) const;  // none: there is no such tier (any more)
  // What class the segments are of that the mover fills in it.
  SegmentClass moved_class(size_t tier) const;
  size_t tier_of(BlobId id) const;

  // The right to one free segment of a tier: nobody else gets the last ones that permits are out
  // for. Given back when it ends, which is before the Space does.
  class Permit {
   public:
    Permit(Permit&& other) noexcept
        : space_(std::exchange(other.space_, nullptr)), tier_(other.tier_) {}
    Permit& operator=(Permit&& other) noexcept {
      std::swap(space_, other.space_);
      std::swap(tier_, other.tier_);
      return *this;
    }
    ~Permit();

   private:
    friend class Space;
    Permit(Space* space, size_t tier) : space_(space), tier_(tier) {}
    Space* space_;
    size_t tier_;
  };
  // For whoever must know, before it begins something, that it will get a segment in the midst of
  // it. Nothing if the claim may not have one.
  std::optional<Permit> permit(Claim claim, size_t tier = 0);
  // A free segment under a new generation, marked open. `avoid`: another blob of the tier is
  // preferred. Nothing: a blob has ceased to serve since.
  std::optional<SegmentName> take(SegmentClass kind, Permit permit, BlobId avoid = BlobId::none);
  // Nothing if the claim may not have one.
  std::optional<SegmentName> take(SegmentClass kind, Claim claim, size_t tier = 0,
                                  BlobId avoid = BlobId::none);
  // For a second copy: on another blob than that, in the first tier or else in one that has room;
  // on the same where there is none.
  std::optional<SegmentName> take_elsewhere(SegmentClass kind, Claim claim, BlobId than);
  bool may_take(Claim claim, size_t tier = 0) const;
  // Free segments that `claim` may still take.
  uint64_t available(Claim claim, size_t tier = 0) const;
  uint64_t low_mark(size_t tier = 0) const;

  // Whether its writer had published everything by that cut.
  bool is_settled(Generation generation, Sequence cut) const;
  // What a generation is called and where its bytes are. Nothing: no segment has it.
  std::optional<SegmentName> find(Generation generation) const;
  std::optional<Segment> segment(Generation generation) const;
  struct Location {
    Blob* blob = nullptr;
    SegmentName name{};
    SegmentClass kind = SegmentClass::log;
    uint64_t offset = 0;  // bytes on the blob's disk; of frames: 0, their index tells
  };
  std::optional<Location> locate(Address address) const;
  // Users read so many blocks of it.
  void note_read(Generation generation, uint64_t blocks);
  // Of each segment, by generation; of what is not in it, none.
  void set_pinned(const std::unordered_map<uint32_t, uint64_t>& blocks);
  // What was read before counts half from now on.
  void forget_reads(size_t tier);
  Blob& blob(BlobId id) const;
  Blobs blobs() const;
  // Of add() and drop(): tiers may get other numbers, so nobody is moving anything, and nobody else
  // changes members.
  // One more blob, of a new tier behind the first or of the kind that its tier has. It has nothing
  // to be taken until grow().
  void add(std::shared_ptr<Blob> blob);
  // One less; it is_empty() and does not serve.
  void drop(BlobId id);
  // Nothing is in it that could ever be read again, and nobody is at work in it.
  bool is_empty(BlobId id) const;
  // The same, but for segments that are being discarded.
  bool is_drained(BlobId id) const;
  BlobUse use_of(BlobId id) const;
  // That is being emptied, or has been; one at a time.
  std::optional<BlobId> leaving() const;
  // It leaves, unless too little would be free elsewhere in its tier for the permits that are out.
  bool let_leave(BlobId id);
  // Segments of it that are neither free nor being discarded, and what of its data is live: blocks
  // as they are written and as they lie there.
  struct Content {
    uint64_t segments = 0, stuck = 0, live_blocks = 0, live_room = 0;
  };
  Content content_of(BlobId id) const;
  // Of what is free in it nothing is taken from now on, or all may be again; but one whose disk has
  // been given up has failed, and serves no more. Permits that are out may be for more than is left
  // then: that is for the caller to see to.
  void set_use(BlobId id, BlobUse use);

  // `addressed`: of frames.
  void seal(Generation generation, uint32_t used_blocks, uint32_t addressed = 0);
  // By recovery: it may have been sealed before the crash.
  void seal_recovered(Generation generation, uint32_t used_blocks, uint32_t addressed = 0);
  void settle(Generation generation, Sequence settled);
  void set_oldest(Generation generation, Sequence oldest);
  // Whether all data in it is certainly of newer entries than that; of 0, whatever is not known.
  bool all_newer(Generation generation, Sequence than) const;
  // Every sealed segment of nodes is settled in that checkpoint, which is being published.
  void settle_nodes(CheckpointNumber number);
  // A copy, entry `copy`, shares something in it: from here on images before that say nothing of
  // it any more. Whoever logs the copy holds an image in which, or in whose layers, it is alive.
  // False: no segment has that generation.
  bool share(Generation generation, Sequence copy);
  // The same for one of whom it is not known that it is alive. False, and nothing has changed: it is
  // gone, or on its way out.
  bool share_if_alive(Generation generation, Sequence at);
  bool is_shared_since(Generation generation, Sequence cut) const;
  // Unless something in it has been shared past `cut`, the image's, meanwhile. Dead in that
  // checkpoint, or in one whose tables have been told meanwhile: it is freed only when tables on the
  // medium know (A4), or a repair could not tell it from one that has vanished (B2).
  void mark_dead(Generation generation, CheckpointNumber in, uint64_t cut);
  void mark_stuck(Generation generation);
  // What is stuck in it may be emptied again.
  void retry_stuck(BlobId id);
  void postpone(Generation generation, CheckpointNumber until);
  // The maps may name other places now for what lived in it; whoever names it still, or comes to,
  // has it twice then (D2).
  void mark_emptied(Generation generation);
  bool is_emptied(Generation generation) const;
  // The result of a walk: exact counts, where no later merge has changed them.
  void set_live(Generation generation, int64_t blocks, int64_t homes, uint64_t of_snapshots = 0);
  // Sealed -> retired: nothing refers to it any more.
  void retire(Generation generation);
  // Its stamp is durable: nothing in it will ever be read again, so it may be discarded. `prepared`:
  // its space on a file stays allocated and written.
  void mark_stamped(Generation generation, bool prepared);
  // Stamped and discarded: free again. Also for a segment that was never used.
  void release(Generation generation);
  // How many segments of data and log have become free since the pool was opened.
  uint64_t released() const;
  // A free segment of a file that is not prepared yet, kept from everybody else until it is given
  // back.
  std::optional<SegmentName> borrow_unprepared();
  void return_borrowed(const SegmentName& name, bool prepared);
  size_t prepared() const;  // free ones; all, where there are no files

  void data(Generation generation, int64_t blocks) override;
  void home(Generation generation, int64_t extents) override;

  SpaceCounts counts() const;
  std::vector<Segment> segments() const;  // all that are not free
  std::vector<Segment> tell_tables(CheckpointNumber number);  // the same, for its tables
  // Of recovery: what the checkpoint says, and what the log took since.
  void load(const std::vector<Segment>& rows);
  // Recovery: the log names this segment; it becomes open if it was free. Error corrupt: it is
  // something else.
  Result<> claim_named(const SegmentName& name, SegmentClass kind);
  // Recovery: a free segment in which a generation was begun that came to nothing.
  void adopt_retired(const SegmentName& name, SegmentClass kind);
  std::vector<uint32_t> free_segments(BlobId blob) const;
  Generation next_generation() const;
  void set_next_generation(Generation next);
  // Recovery will believe that no generation from `mark` on was given out (A3); asserted.
  void set_generation_mark(uint32_t mark);

  // The nodes that a checkpoint may have to write decide how much it must be able to take.
  void set_node_bytes(uint64_t bytes);
  // The smallest of that tier.
  uint32_t segment_blocks(size_t tier = 0) const;
  uint32_t largest_address_blocks() const;  // of any segment
  uint64_t total() const;                   // segments of all blobs, whether they serve or not
  // Takes in the segments that blobs have now and had not before.
  void grow();

  // What users can ever store, blocks: the reserve is kept back (D5), never shown.
  uint64_t capacity_blocks() const { return capacity_; }
  uint64_t capacity_of(size_t tier) const;
  uint64_t live_in(size_t tier) const;  // blocks of the medium, by the hints
  // Blocks that the data in compressed segments does not take, by the hints.
  uint64_t saved_blocks() const { return saved_; }
  void count_saved();
  // Whether overwriting what lies there gives back its room.
  bool is_compressed(Generation generation) const;
  // Of that, what the maps may come to take.
  uint64_t metadata_blocks() const;

 private:
  struct Tier {
    uint32_t number = 0;  // as people count them
    BlobKind kind = BlobKind::journal;
    uint32_t segment_blocks = 0;  // the smallest
    std::vector<size_t> blobs;    // positions
  };
  void rank() REQUIRES(mutex_);
  void take_in_segments() REQUIRES(mutex_);
  Segment* row(Generation generation) REQUIRES(mutex_);
  const Segment* row(Generation generation) const REQUIRES(mutex_);
  bool serves(size_t position) const REQUIRES(mutex_) { return uses_[position] == BlobUse::serves; }
  void count_capacity() REQUIRES(mutex_);
  std::vector<Segment> all() const REQUIRES(mutex_);
  // That may be taken.
  uint64_t free_on(size_t position) const REQUIRES(mutex_);
  uint64_t free_in(size_t tier) const REQUIRES(mutex_);
  // available(), under the lock.
  uint64_t left_for(Claim claim, size_t tier) const REQUIRES(mutex_);
  std::optional<SegmentName> take_free(SegmentClass kind, size_t tier, BlobId avoid)
      REQUIRES(mutex_);
  std::optional<SegmentName> take_on(SegmentClass kind, size_t position) REQUIRES(mutex_);
  TierSize size_of(size_t tier) const REQUIRES(mutex_);
  uint64_t live_of(size_t tier) const REQUIRES(mutex_);
  size_t position(BlobId id) const REQUIRES(mutex_);
  bool empty_at(size_t position) const REQUIRES(mutex_);
  void index_free(size_t position, uint32_t index) REQUIRES(mutex_);
  std::optional<uint32_t> pick_free(size_t position) REQUIRES(mutex_);

  const double kept_back_percent_;
  std::atomic<size_t> tier_count_{0};
  std::atomic<uint64_t> capacity_{0}, saved_{0};
  std::atomic<uint32_t> first_segment_blocks_{0};  // of tier 0, which every write asks for
  mutable Mutex mutex_;
  Blobs blobs_ GUARDED_BY(mutex_);
  std::vector<Tier> tiers_ GUARDED_BY(mutex_);
  std::vector<size_t> tier_at_ GUARDED_BY(mutex_);             // by blob position
  std::vector<std::vector<Segment>> rows_ GUARDED_BY(mutex_);  // by blob position, segment index
  std::vector<BlobUse> uses_ GUARDED_BY(mutex_);               // by blob position
  std::unordered_map<uint32_t, std::pair<uint16_t, uint32_t>> by_generation_ GUARDED_BY(mutex_);
  // Per blob: free segments, prepared ones apart; the lowest index first, so that a pool in a
  // file touches no more of it than it must.
  std::vector<std::set<uint32_t>> free_prepared_ GUARDED_BY(mutex_);
  std::vector<std::set<uint32_t>> free_fresh_ GUARDED_BY(mutex_);
  uint32_t next_generation_ GUARDED_BY(mutex_) = 1;
  CheckpointNumber told_ GUARDED_BY(mutex_) = 0;
  uint32_t generation_mark_ GUARDED_BY(mutex_) = UINT32_MAX;
  std::atomic<uint64_t> node_bytes_ = 0;  // changed under the mutex, read at every write
  uint64_t released_ GUARDED_BY(mutex_) = 0;
  std::vector<uint64_t> permits_ GUARDED_BY(mutex_);  // that are out, by tier
  std::vector<Stripe> stripes_ GUARDED_BY(mutex_);    // by tier
};

}  // namespace lamina
