// SPDX-License-Identifier: Apache-2.0
// A pool that is open: thin devices with names, maps, one log. The engine's public face.
// Thread-safety: every method from any thread that has an Executor; a Task resumes on the executor
//   that awaited it. Nothing here blocks a thread on I/O.
// Durability: a completed change is durable after the next flush() of any device, sync(), close(),
//   or flush_after at the latest; after a crash the pool is a prefix of the order of entries that
//   holds everything acknowledged as durable (promises 1 and 2).
// Errors: codes of base/result.h, named at each method; every method that changes something may
//   also fail with read_only (the pool has turned read-only; status() says why), no_space, io. A
//   write or flush of a disk that fails once is survived: whoever waits for it waits a little
//   longer (A19).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/task.h"
#include "base/units.h"
#include "blobs/blob.h"
#include "engine/counters.h"
#include "engine/maps/extent.h"
#include "engine/settings.h"

namespace lamina {

// Times are nanoseconds since 1970, UTC.
struct Attributes {
  uint32_t mode = 0600;  // permission bits; devices are regular files
  uint32_t uid = 0, gid = 0;
  uint64_t atime_ns = 0, mtime_ns = 0, ctime_ns = 0;
  friend bool operator==(const Attributes&, const Attributes&) = default;
};

struct DeviceInfo {
  DeviceId id = DeviceId::none;
  std::string name;  // empty: removed while open
  uint64_t size_bytes = 0;
  Attributes attributes;
  uint64_t created_ns = 0;
  bool read_only = false;
  std::string pin;                   // the blob that it is pinned to; empty: none
  DeviceId origin = DeviceId::none;  // what it was forked from
  std::string origin_name;           // empty where that is removed or there is none
  bool shares = false;               // some of its data may be another device's as well
  // What no other device has, which removing it would give back, and the rest of what is mapped: as
  // a walk found it so long ago; exact now where it does not share. Nothing: no walk knew it yet.
  struct Share {
    uint64_t exclusive_bytes = 0, shared_bytes = 0, age_ns = 0;
  };
  std::optional<Share> share;
  std::vector<std::string> origin_files;  // external origins that it may refer to
  uint64_t mapped_bytes = 0;  // what holds data that is stored in the pool; exact as of the last
                              // merge, corrected by what the layers are known to change
  uint64_t reserved_bytes = 0;  // preallocated and not yet written
  uint64_t extents = 0;         // as of the last merge
  uint64_t suspect_bytes = 0;   // in suspect ranges, see Pool::suspect()
};

// A blob that is to become a member of the pool.
struct NewBlob {
  std::string name;
  Uuid uuid{};
  BlobKind kind = BlobKind::journal;
  uint32_t tier = 0;
  uint64_t segment_bytes = 0, erase_bytes = 0;  // as in Blob::plan()
  Settings::Aging aging;
  int level = 0;  // of zstd; 0: the default
};

// Of the blob that is leaving.
struct EvacuationStatus {
  enum class State : uint8_t {
    none,
    running,
    empty,    // it may be removed
    stopped,  // `why` says what is in the way; evacuating it again tries again
  };
  State state = State::none;
  std::string blob, why;
  uint64_t left_segments = 0, left_bytes = 0;  // that are in use; of data that lives in it
};

struct BlobStatus {
  BlobId id = BlobId::none;
  std::string name;
  std::string path;
  BlobKind kind = BlobKind::journal;
  uint32_t tier = 0;
  uint64_t size = 0, used = 0, free = 0;     // in segments
  uint64_t disk_size = 0;                    // all of it
  uint64_t data_bytes = 0, saved_bytes = 0;  // that live in it; of them, what compression spares
  uint64_t segment_bytes = 0;
  uint32_t segments_free = 0, segments_total = 0;
  DiskTraits traits;
  std::string health;  // "ok", or what is wrong
  BlobUse use = BlobUse::serves;
};

// An image that devices read through (C7).
struct OriginStatus {
  std::string path;
  uint64_t size_bytes = 0;  // that devices see
  uint64_t devices = 0;     // that may refer to it
  std::string health;       // "ok", or what is the matter: then all that is in it is EIO
};

// Walks of the maps.
struct WalkStatus {
  uint64_t age_ns = UINT64_MAX;  // of the newest complete one; UINT64_MAX: there is none yet
  bool complete = false;         // the newest one could read everything (A8)
  bool running = false;
  uint64_t done = 0, all = 0;        // of the one that is running: leaves read, to be read
  uint64_t asked = 0, answered = 0;  // Pool::ask_shares()
  uint64_t taken_ns = 0, extents = 0, passes = 0;  // of the newest complete one
};

// Bringing devices into order.
struct DefragStatus {
  uint64_t asked = 0, answered = 0;                // Pool::ask_defrag()
  std::string device;                              // that is being looked at; empty: none
  uint64_t done_bytes = 0, all_bytes = 0;          // of what was asked for: looked at, mapped
  uint64_t moved_bytes = 0;                        // since open
  uint64_t extents_before = 0, extents_after = 0;  // of those devices, at both ends
  std::string ended;  // how the newest one did: "done", or why it was early; empty: not yet
};

// Comparing everything with its checksums.
struct ScrubStatus {
  uint64_t asked = 0, answered = 0;  // Pool::ask_scrub()
  bool running = false;
  bool under_way = false;                  // a pass has been begun and not come to its end
  uint64_t done_bytes = 0, all_bytes = 0;  // of payload, of that pass, or the newest
  uint64_t bad_bytes = 0;       // that devices have lost, as that pass found; what is shared counts
                                // for each
  uint64_t verified_bytes = 0;  // since open
  uint64_t zeroes_dropped = 0;  // zero extents that hid nothing any more and went, since open (C4)
  uint64_t began_ns = 0, ended_ns = 0;  // since 1970: that pass; the newest whole one; 0: never
  std::string ended;  // how the newest one did: "done", or why it was early; empty: not yet
};

// What is wrong, by the rule of engine/INVARIANTS.md that it breaks.
struct CheckFinding {
  std::string rule;
  std::string where;  // path and place, or device and range
  std::string what;
  friend bool operator==(const CheckFinding&, const CheckFinding&) = default;
};

// Looking at everything that is on the disks.
struct CheckStatus {
  uint64_t asked = 0, answered = 0;  // Pool::ask_check()
  bool running = false;
  bool data = false;            // of the one under way, or the newest: payload, too
  std::string doing;            // what is being looked at; empty: nothing
  uint64_t done = 0, all = 0;   // of that
  uint64_t nodes = 0, segments = 0, devices = 0, ranges = 0, verified_bytes = 0;  // looked at
  uint64_t findings = 0;        // so far; Pool::check_findings() says which
  std::string ended;            // how it did: "done", or why it was early; empty: not yet
};

struct PoolStatus {
  std::string name;
  Uuid uuid{};
  std::string health;  // "ok", "full: <what goes on>", "read-only: <why>"
  bool read_only = false;
  uint64_t size = 0;  // what users can ever store, bytes; the reserve is not in it
  uint64_t used = 0, free = 0;
  uint32_t space_warning = 0;  // percent: the step of fullness that was reached; 0: none
  uint64_t extents = 0;
  uint64_t metadata_bytes = 0;  // maps + node table + device table + checkpoints, one copy
  uint64_t log_bytes = 0;       // to roll forward after a crash now
  uint64_t tail_bytes = 0;      // not known to be durable
  uint64_t layer_bytes = 0, node_cache_bytes = 0;
  uint64_t node_misses = 0;   // look-ups since open that the cache could not answer
  uint64_t written_user = 0;  // payload bytes taken from users since open
  uint64_t read_user = 0;     // payload bytes given to users since open
  std::array<uint64_t, cause_count> written{};  // bytes written to disks since open, by cause
  uint64_t discarded = 0;                       // bytes since open
  uint64_t flushes = 0;                         // of disks, since open
  uint64_t checkpoints = 0;
  CheckpointNumber checkpoint = 0;
  Epoch epoch = 0;
  uint64_t recovered_entries = 0;                  // rolled forward when it was opened
  uint64_t survived_failures = 0;                  // of writes and flushes, since open (A19)
  // Blocks of metadata that were damaged and have been written anew; nodes of maps of which no copy
  // was left, and which were made again from summaries and records. Since open.
  uint64_t healed = 0, rebuilt_nodes = 0;
  uint64_t forks = 0;                              // steps that forked, since open
  uint64_t last_fork_ns = 0, longest_fork_ns = 0;  // from the request to its place in the log
  uint64_t devices = 0;
  std::vector<BlobStatus> blobs;
  std::string mover_state, mover_policy;
  uint64_t moved_bytes = 0, emptied_segments = 0, gained_bytes = 0;  // by it, since open
  uint64_t aged_bytes = 0;      // of what was moved, what went to a lower tier
  uint64_t promoted_bytes = 0;  // and to a higher one, since it is read often
  uint64_t aging_asked = 0, aging_answered = 0;
  uint64_t evacuated_bytes = 0;  // of what was moved, what went out of blobs that are leaving
  EvacuationStatus evacuation;
  std::vector<OriginStatus> origins;
  std::string origin_refused;   // why the newest set_origin() or accept_origin() failed; empty
  std::string members_refused;  // why the newest change of members was refused or failed; empty
  DefragStatus defrag;
  ScrubStatus scrub;
  CheckStatus check;
  uint64_t data_bytes = 0;  // of `used`: data that the maps refer to, what is shared once, as of
                            // the last merge; at most, and exact as of the last walk
  WalkStatus walk;
  uint64_t lost_ranges = 0;

  uint64_t written_for(Cause cause) const { return written[static_cast<size_t>(cause)]; }
  uint64_t written_medium() const { return std::accumulate(written.begin(), written.end(), 0ull); }
};

struct LostRange {
  DeviceId device = DeviceId::none;
  std::string name;
  BlockRange range;
};

enum class RangeState : uint8_t { data, zero, hole, reserved, lost };
struct MappedRange {
  BlockRange range;
  RangeState state = RangeState::hole;
  BlobId blob = BlobId::none;  // data
  Address address{};           // data: of the first block
  uint64_t stored_blocks = 0;  // data: what it takes on the medium, its part of what is compressed
  std::string origin = {};     // data that is read from an external origin: its path
};

// What lies in a block of a disk, and whose it is.
struct MediumPlace {
  std::string blob;
  uint64_t offset = 0;  // of the block, bytes from the beginning of the blob
  // "superblock", "checkpoint slot", "outside of segments", "free", "segment header", "checksums",
  // "frame index", "summary", "record", "node", "checkpoint tables", "data", "garbage", "unused"
  std::string what;
  // Of what lies in a segment that is not free.
  uint32_t segment = 0;
  Generation generation = Generation::none;
  std::string segment_class;  // "log", "nodes", "moved", "frames"
  uint32_t block = 0;         // in the segment
  // Of frames: the first and the number of those that the block has a part of.
  uint32_t frame = 0, frames = 0;
  // Of a node.
  NodeId node = NodeId::none;
  uint32_t level = 0;
  struct User {
    DeviceId device = DeviceId::none;
    std::string name;        // empty: removed while open
    bool read_only = false;  // as snapshots are
    BlockRange range;    // of data, what of the device lies there; of a node, what it answers for
    bool alias = false;  // shared by a copy
  };
  std::vector<User> users;
  bool more_users = false;  // than are listed
};

class PoolState;  // the parts; engine/pool_state.h

class Pool {
 public:
  // Recovers and serves. The blobs are those whose superblocks name this pool; membership is
  // checked against the slot (A13). Errors: not_found, a member is missing; corrupt; io.
  static Task<Result<std::unique_ptr<Pool>>> open(Blobs blobs, Settings settings);
  // Makes an empty pool on blobs whose superblocks are filled in: writes slot, then superblocks.
  static Task<Result<>> format(Blobs& blobs, const Attributes& root);
  ~Pool();  // after close(), or after a crash that is meant

  // Ends background work, makes everything durable and marks the pool clean. Nothing else may be
  // under way.
  Task<Result<>> close();

  // --- names. `name` is checked: UTF-8, 1..255 bytes, no control characters or '/', not ".lamina*"
  Result<DeviceInfo> find(std::string_view name);  // not_found
  Result<DeviceInfo> info(DeviceId id);            // not_found
  std::vector<DeviceInfo> list();                  // in order of id
  Task<Result<DeviceInfo>> create(std::string name, uint64_t size_bytes, Attributes attributes);
  Task<Result<>> remove(std::string name);  // the name; the device at last close
  // `replace` false: exists when the new name is taken. exchange is not offered (invalid).
  Task<Result<>> rename(std::string from, std::string to, bool replace);
  // Makes devices that are as their sources are now, all at one point of the order of entries,
  // while reads and writes go on: each holds exactly what was written before that point. They share
  // everything with their sources, and cost nothing until one side is written. Inherited: size,
  // data, mode, owner, user.* attributes; not: reservations, trusted.*, security.*.
  // O(1) each. Errors: not_found, a source has no name (any more); exists; invalid; too_big, more
  // names than one step of the log takes: 1,000 of 32 bytes always fit, of 255 bytes where segments
  // are 2 MiB or larger.
  struct Fork {
    DeviceId source = DeviceId::none;
    std::string name;
  };
  Task<Result<std::vector<DeviceInfo>>> fork(std::vector<Fork> forks, bool read_only);
  // The device becomes as `source` is now; name, id, owner and mode stay. Waits for what reads,
  // changes and writes back (A17). Errors: not_found; invalid, they are not related; read_only;
  // busy, it is open, unless `force`.
  Task<Result<>> roll_back(DeviceId id, DeviceId source, bool force);
  // Open files keep a removed device alive. Every open() is matched by a close_device().
  Result<> open_device(DeviceId id, bool for_writing);  // read_only
  Task<Result<>> close_device(DeviceId id, bool for_writing);

  // --- attributes
  Task<Result<>> set_attributes(DeviceId id, Attributes attributes);
  Task<Result<>> set_read_only(DeviceId id, bool read_only);  // busy while open for writing
  // Extended attributes, full names. A value is at most 64 KiB. `create`/`replace` as setxattr(2).
  Result<std::string> get_xattr(DeviceId id, std::string_view name);  // not_found
  std::vector<std::string> list_xattrs(DeviceId id);
  Task<Result<>> set_xattr(DeviceId id, std::string name, std::string value, bool create,
                           bool replace);
  // The device's data is to lie in that blob's tier: engine/space/pins.h. Empty: anywhere. It is
  // brought there in the background. Errors: not_found; invalid, no blob has that name.
  Task<Result<>> pin(DeviceId id, std::string blob);
  Task<Result<>> remove_xattr(DeviceId id, std::string name);
  Attributes root_attributes();
  Task<Result<>> set_root_attributes(Attributes attributes);

  // --- data. Offsets and lengths in bytes, of any alignment; what is not block aligned is
  // read-modify-write under a range lock. Past 1 PiB: too_big.
  // Returns how many bytes were read: short at the end of the device only.
  Task<Result<size_t>> read(DeviceId id, uint64_t offset, std::span<std::byte> into);
  // Grows the device if it ends past the end. `into` and `from` live until the task has ended;
  // block-aligned memory saves a copy on reads.
  Task<Result<>> write(DeviceId id, uint64_t offset, std::span<const std::byte> from);
  // Makes [to_offset, + length) of `to` what [offset, + length) of `from` is; the result is how
  // many bytes, from the front, have been: fewer where the source ends, where it takes many pieces,
  // or where the rest fails; 0 at or past its end. Whole blocks whose places in a block agree are
  // shared: that moves no byte, takes no new space, and waits until the source is durable. The rest
  // is read and written. Of a whole device into one that was never written, and is not larger: a
  // fork, O(1). Grows the target as a write does. Errors, where nothing was done: invalid, the two
  // ranges overlap in one device; io, the source is lost there.
  Task<Result<uint64_t>> copy(DeviceId from, uint64_t offset, DeviceId to, uint64_t to_offset,
                              uint64_t length);
  // Reads as zeroes afterwards. Never changes the size. O(extents) at most.
  Task<Result<>> erase(DeviceId id, uint64_t offset, uint64_t length);
  Task<Result<>> resize(DeviceId id, uint64_t size_bytes);
  Task<Result<>> truncate_to_empty(DeviceId id);  // O_TRUNC: a new map (A17)
  // Preallocates: writes to the range will not fail for want of space. Grows unless keep_size.
  Task<Result<>> reserve(DeviceId id, uint64_t offset, uint64_t length, bool keep_size);
  // From `begin` on, in order, gaps as holes, up to the end of the device; at most `limit`.
  Task<Result<std::vector<MappedRange>>> map(DeviceId id, DeviceBlock begin, size_t limit);
  // What lies in the block of that blob that has byte `offset` of it, as of now: merges, and walks
  // the maps. Errors: those of engine/reverse_map.h.
  Task<Result<MediumPlace>> reverse(std::string blob, uint64_t offset);
  // The first data (hole) at or past `offset`; the size where there is no hole before it;
  // not_found where there is no data past it.
  Task<Result<uint64_t>> seek(DeviceId id, uint64_t offset, bool data);

  // --- external origins (C7, engine/origins.h)
  // The device, which was never written, becomes as the raw image at `path` is, and no smaller: a
  // smaller one grows. Reads go through to the image, which is never changed; writes diverge.
  // Durable when it returns. Errors: not_found; read_only; exists, the device is not empty; those
  // of Settings::open_image.
  Task<Result<>> set_origin(DeviceId id, std::string path);
  // Those of its external origins that have changed, or cannot be read, are right as they are now,
  // for all devices that refer to them. `path` not empty: the one there is, is there now. Durable
  // when it returns. Errors: not_found; invalid, none of them is wrong, or several are and a path
  // was given, or the image is shorter than devices see it; those of Settings::open_image.
  Task<Result<>> accept_origin(DeviceId id, std::string path);
  // lost(), and the ranges that lie in external origins which cannot be read now.
  Task<Result<std::vector<LostRange>>> lost_now();
  // What became of one of these before the engine heard of it, for status().
  void note_origin_refused(const Result<>& result);

  // --- durability
  Task<Result<>> flush(DeviceId id);  // nothing new since its last one: does nothing
  Task<Result<>> sync();              // everything, and a checkpoint
  Task<Result<>> checkpoint();
  // What each device has alone (DeviceInfo::share) is known as of this call, or of a later moment.
  // Callers at one time share one walk. Errors: busy, space stayed too short for it; io, a node
  // could not be read; corrupt.
  Task<Result<>> count_shares();
  // The same, in the background: done when status().walk.answered has come to what .asked is now.
  Result<> ask_shares();
  // All data ages, as far down as the tiers have room, in the background: it has, as far as it was
  // written before, when status().aging_answered has come to what .aging_asked is now. Errors:
  // unsupported, there is one tier only.
  Result<> ask_aging();

  // The extents of a device, of all where it is none, are brought into order in the background:
  // what lies in many places comes to lie in few, in the tier where it is, and what is shared once
  // for all who share it. It has been, as far as there was room, or was stopped, when
  // status().defrag.answered has come to what .asked is now. Errors: not_found.
  Result<> ask_defrag(DeviceId device);
  // What was asked for ends after the batch under way; what has been moved stays moved.
  void stop_defrag();
  // Compares everything with its checksums, in the background: a pass, or what is left of one that
  // has been begun, in this life of the pool or one before. The answer has come when
  // status().scrub.answered has come to what .asked is now. Errors: read_only.
  Result<> ask_scrub();
  // Ends it after the segment under way; the next one goes on from there.
  void stop_scrub();

  // Looks at all metadata, and at all payload if `data`, while everything goes on, and changes
  // nothing. The answer has come when status().check.answered has come to what .asked is now.
  void ask_check(bool data);
  // Ends it soon: then what was found so far is all that is known.
  void stop_check();
  // Of the check under way, or the newest; the first 10,000.
  std::vector<CheckFinding> check_findings() const;

  // Takes in what disks have become larger by, while everything goes on; `blob` empty: of all.
  // Those that have grown; durable when it returns. Errors: not_found, no blob has that name; io.
  Task<Result<std::vector<GrownBlob>>> grow(std::string blob);

  // --- members. Errors of all: busy, another change is under way.
  // The disk, which holds nothing that anybody wants, becomes a blob of the pool; durable when it
  // returns. Errors: exists, a blob has that name; invalid, the tier is before the first or has
  // another kind; no_space, too small; too_big, there are as many as there can be; io.
  Task<Result<>> add_blob(std::shared_ptr<Disk> disk, NewBlob blob);
  // What became of it before the engine heard of it, for status().
  void note_refused(const Result<>& result);
  // Everything on the blob goes anywhere else, in the background, while users go on, and in the
  // next life if need be: status() says how far it is. Nothing is taken from it from now on, so
  // there is less room. Errors, and nothing has changed: not_found; invalid, it is the only journal
  // of the first tier; no_space, what lives in it does not fit anywhere else; busy, it is being
  // evacuated already, or another one is.
  Task<Result<>> evacuate(std::string blob);
  // It is not to leave: it serves again. Errors: not_found; invalid, it is not leaving.
  Task<Result<>> keep(std::string blob);
  // An empty blob is no member any more, and its disk is wiped and let go. Errors: not_found; busy,
  // it is not empty; invalid, it is the only journal; io, it is removed, but not wiped.
  // `accepts_loss`: it is emptied first, and what cannot be read there is lost from now on, and
  // listed; what can be read goes elsewhere, so also no_space, as evacuate().
  Task<Result<>> remove_blob(std::string blob, bool accepts_loss = false);

  // Looks at all metadata, every copy of it, and has what is damaged written anew; what data it is of
  // is not looked at. Durable when it returns. How many blocks were bad. Errors: read_only; io.
  Task<Result<uint64_t>> heal_metadata();

  PoolStatus status();
  // Ranges that cannot be read, suspect ones among them.
  std::vector<LostRange> lost();
  // What a repair found there may not be the newest: EIO until it is written, or accepted (B2).
  std::vector<LostRange> suspect();
  // What was found there is the device's content from now on; durable when it returns. Errors:
  // not_found; invalid, nothing of it is suspect; read_only.
  Task<Result<>> accept_suspect(DeviceId id);
  // Called on some executor when a device's size or contents changed by other means than the
  // caller's (rollback, resize from outside); set once, before use.
  void on_changed(std::function<void(DeviceId)> changed);

 private:
  explicit Pool(std::unique_ptr<PoolState> state);
  std::unique_ptr<PoolState> state_;
};

// Ok, or invalid / name_too_long.
Result<> check_device_name(std::string_view name);

inline constexpr uint64_t max_device_bytes = 1 * pib;
inline constexpr size_t max_devices = 65536;
inline constexpr size_t max_name_bytes = 255;
inline constexpr size_t max_xattr_value_bytes = 64 * kib;
// All user attributes of one device together.
inline constexpr size_t max_xattrs_bytes = 128 * kib;

}  // namespace lamina
