// SPDX-License-Identifier: Apache-2.0
// The parts of an open pool, and how they hang together. Private to the engine.
//
// Lock order (a later one may be taken while an earlier one is held):
//   1. Log::order()          names, devices, numbering of entries, the open record
//   2. ThinMap::mutex_, RangeLocks::mutex_
//   3. PoolState::images_mutex_, Checkpointer::mutex_, PoolState::background_mutex_,
//      Reclaimer::mutex_
//   4. Walker::mutex_, Defragmenter::mutex_, Scrubber::mutex_, Space::mutex_, Tail::mutex_,
//      Sums::mutex_, NodeStore's shards, Healer::mutex_
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/check/checker.h"
#include "engine/checkpoint.h"
#include "engine/counters.h"
#include "engine/devices.h"
#include "engine/frame_cache.h"
#include "engine/heal/healer.h"
#include "engine/image.h"
#include "engine/log/log.h"
#include "engine/maps/node_store.h"
#include "engine/members.h"
#include "engine/node_writer.h"
#include "engine/origins.h"
#include "engine/pool.h"
#include "engine/scrub/scrubber.h"
#include "engine/space/defragmenter.h"
#include "engine/space/fullness.h"
#include "engine/space/move_pace.h"
#include "engine/space/pin_mover.h"
#include "engine/space/promoter.h"
#include "engine/space/reclaim.h"
#include "engine/space/space.h"
#include "engine/space/summary_cache.h"
#include "engine/space/walker.h"
#include "engine/space/written_times.h"
#include "engine/sums.h"

namespace lamina {

class ReadPlan;

class PoolState final : public BlockSource {
 public:
  PoolState(Blobs the_blobs, Settings the_settings, const PoolIdentity& the_identity,
            std::string the_name);
  ~PoolState() override;

  // BlockSource: how NodeStore reaches the medium.
  Task<Result<MetadataPlace>> read_block(Address address, std::span<std::byte> into) override;
  const Secret& secret() const override { return identity.secret; }
  void note_bad_copy(NodeId id, const NodeEntry& entry) override { healer.note_node(id, entry); }
  Task<Result<NodeBlock>> mend(NodeId id, NodeEntry entry, Error why) override {
    return healer.mend(id, entry, std::move(why));
  }

  // What a committed checkpoint made; K_old and K_new are the last two.
  void add_image(ImagePtr image);
  ImagePtr newest_image() const;
  ImagePtr older_image() const;  // K_old; null before the second checkpoint of this life
  // The number of the oldest image that anybody holds.
  CheckpointNumber oldest_held() const;

  // --- steps (engine/step.cpp)
  struct StepEntry {
    Entry entry;
    std::string payload;  // of attribute values too long for a record
  };
  // Numbers, logs and applies in one step what `build` gives under the order lock; waits for room
  // first. An error of `build` is passed on, and nothing has happened; an empty list: nothing to
  // do.
  using Build = std::function<Result<std::vector<StepEntry>>()>;
  Task<Result<>> step(Claim claim, uint32_t payload_blocks, Build build);
  // At least what an entry takes in a record, whatever its number.
  static size_t packed_bound(const Entry& entry) { return packed_entry_size(entry, 0) + 16; }
  // Under the lock, with room made sure of: one entry of a step that was begun.
  void log_and_apply(Entry entry, std::span<const std::byte> payload) REQUIRES(log.order());
  Result<> writable() const;  // read_only, with the reason
  // Error io: what is there hangs on a node that is lost.
  static Result<> takes_changes(const Device& device, BlockRange range, bool erases = false);
  Result<> writable(Result<> health_of_log) const;

  // A device that may be written to, and its size at that moment. Errors: not_found, read_only.
  struct Writable {
    DevicePtr device;
    uint64_t size_bytes;
  };
  Result<Writable> writable_device(DeviceId id);
  // Where a range of bytes ends. Error too_big: past what a device can have.
  static Result<uint64_t> end_of(uint64_t offset, uint64_t length);

  // --- data (engine/pool_read.cpp, pool_write.cpp)
  // Whole blocks, aligned memory. What cannot be read is listed.
  Task<Result<>> read_blocks(ThinMap& map, BlockRange range, std::span<std::byte> into);
  Result<> plan_read(const ThinMap::Resolved& resolved, BlockRange range, std::span<std::byte> into,
                     ReadPlan& plan);
  Task<Result<>> read_to_change(const Device& device, DeviceBlock block, std::span<std::byte> into);
  Task<bool> all_zero_before(const Device& device, uint64_t size_bytes);
  std::shared_ptr<ThinMap> map_of(const Device& device);
  Log::Pace pace_of(const Device& device) REQUIRES(log.order());
  // As Pool says.
  Result<> open_device(DeviceId id, bool for_writing);
  Task<Result<>> close_device(DeviceId id, bool for_writing);
  // Lists it as lost, of the device whose map that is.
  void report_unreadable(MapId map, BlockRange range);
  struct Write {
    DevicePtr device;
    DeviceBlock begin{};
    std::span<const std::byte> data;  // whole blocks
    uint64_t end_bytes = 0;           // the device is at least so large afterwards
    bool holds_range = false;         // the caller has the range lock
    Claim claim = Claim::user;
  };
  Task<Result<>> write_blocks(Write write);
  // The same with its range held.
  Task<Result<>> write_in_turn(Write write, BlockRange range);
  // Bytes of any alignment: `from` at `offset`. `size` is the device's, lately.
  Task<Result<>> write_parts(Write write, uint64_t offset, std::span<const std::byte> from,
                             uint64_t size);
  // Blocks there that draw on the device's reservation when written or given up. The caller holds
  // the range, so that they do until its step.
  Task<uint64_t> reserved_in(const Device& device, BlockRange range);
  Task<uint64_t> count_reserved(ThinMap& map, BlockRange range);
  Entry release_reservation(Device& device, uint64_t blocks);
  // Zeroes what lies behind the end inside the last block, before the device grows past it (C3).
  Task<Result<>> zero_behind_end(DevicePtr device);

  // --- copies (engine/pool_copy.cpp)
  // What of a copy is shared: whole blocks of one device that become those of another.
  struct Share {
    DevicePtr source, target;
    DeviceBlock from{}, to{};
    BlockCount length{};
    BlockRange of_source() const { return {from, from + length}; }
    BlockRange of_target() const { return {to, to + length}; }
  };
  struct Piece;
  struct Looked;
  Task<Result<bool>> take_over(DevicePtr source, DevicePtr target, uint64_t bytes);
  Task<Result<uint64_t>> share(Share what);
  Task<Result<>> grow_to_share(DevicePtr target, BlockRange held, bool& covered);
  Task<Result<>> look_up(const Share& what, Looked& looked);
  bool still_so(const Share& what, const Looked& looked) REQUIRES(log.order());
  DeviceBlock share_step(const Share& what, Looked& looked, DeviceBlock done) REQUIRES(log.order());

  // --- external origins (engine/pool_origins.cpp)
  Task<void> open_origins();                      // those that are recorded
  Generation known_origin(const Origin& wanted);  // under the order lock
  Task<Result<>> set_origin(DeviceId id, std::string path);
  Task<Result<>> accept_origins(DeviceId id, std::string path);

  // --- admission (engine/admission.cpp)
  // Whether `blocks` of new data fit, at once, by an upper bound of what is used (D2).
  bool admits(uint64_t blocks) const;
  // The same exactly: overwriting what the map holds needs nothing (promise 4). Error no_space.
  Task<Result<>> admit(const Device& device, BlockRange range);
  struct Holder {
    std::shared_ptr<ThinMap> map;
    Sequence last_share = 0;
    uint64_t reserved_blocks = 0;
  };
  Holder holder_of(const Device& device);
  // What writing a range needs: blocks of new space; those of them that are there but not the
  // device's alone for certain; and of these, such as no walk for figures has seen.
  struct Need {
    uint64_t fresh = 0, shared = 0, unknown = 0;
  };
  Task<Result<Need>> need_of(const Device& device, BlockRange range);
  Task<Need> need_of(uint64_t range_blocks, std::vector<Extent> extents, Holder holder);
  Task<uint64_t> blocks_newer(Extent extent, Sequence than);
  bool may_come_back();  // with the next merge
  uint64_t used_blocks_bound() const;
  // The same without what is not merged yet, which is counted as if all of it were new.
  uint64_t merged_blocks_bound() const;
  // What is used has become known: tells of a step. `refused`: somebody was told no_space.
  void look_at_space(bool refused = false);
  uint64_t layer_bytes();

  Blobs blobs() const { return space.blobs(); }

  // When data of a tier ages.
  Settings::Aging aging_of(size_t tier) const;
  int level_of(size_t tier) const;  // of zstd
  // Of a blob that was not there when the pool was opened.
  void tell_policy(const std::string& blob, const Settings::Aging& aging, int level);
  // The newest entry that is known to be at least so old; 0: none is.
  Sequence written_before(uint64_t age_ns) const;

  // --- background (engine/background.cpp)
  // Starts a checkpoint, and what follows it, unless one is on its way.
  void start_checkpoint();
  void start_checkpoint_soon();
  Task<void> wait_for_background();
  void start_preparing();
  // The log fills segments so fast, with so few flushes, that zeroes written ahead of it would only
  // be in its way.
  bool log_streams() const;
  // A device or a map is gone: what that gives back is shown soon, without anybody asking.
  void start_showing_space();
  // Figures of everything that has been done so far (engine/space/walker.h), for the asker to look
  // at Walker::status(); or to wait for.
  void start_figures();
  // All data ages as far as there is room; Pool::ask_aging() says how one hears of the end.
  void start_aging_all();
  // What is on a blob that is leaving goes elsewhere.
  void start_emptying();
  // A pin has changed: what lies elsewhere is brought where it says.
  void start_following_pins();
  // Those devices are brought into order; Pool::ask_defrag() says how one hears of the end.
  void start_defragmenting(std::vector<DeviceId> wanted);
  // Everything is compared with its checksums; Pool::ask_scrub() says how one hears of the end.
  void start_scrubbing();
  // What a life before has begun, and nobody has stopped.
  void go_on_scrubbing();
  // Everything is looked at; Pool::ask_check() says how one hears of the end.
  void start_checking(bool data);
  // Looks now and then whether data has become idle, where there is a tier below the first.
  void start_watching_idle();
  // What the healer has been told of is written anew.
  void start_healing() {
    start_in_background(&PoolState::heal, &PoolState::healing_started_);
  }
  // Looks at external origins now and then, where somebody who wants to write to one waits for it.
  void start_watching_origins() {
    if (origins.any())
      start_in_background(&PoolState::watch_origins, &PoolState::watching_origins_started_);
  }
  Task<Result<>> count_figures();
  bool closing() const;

  std::atomic<uint64_t> aging_asked{0}, aging_answered{0};

  // --- surviving failures (A19), under the order lock
  bool end_epoch(Sequence cut);
  void point_at(std::span<const Rewritten> places);

  // While nobody else changes members.
  Task<Result<std::vector<GrownBlob>>> grow(std::string blob);
  // To write superblocks and what goes with them, in that epoch.
  Blob::Access superblock_access(Epoch epoch);

  // The first checkpoint of a new pool.
  Task<Result<>> make_empty(const Attributes& root);

  Settings settings;
  PoolIdentity identity;
  std::string name;
  Counters counters;
  Space space;
  Sums sums;
  FrameCache frames;
  Log log;
  NodeStore nodes;
  Devices devices;  // guarded by log.order()
  NodeWriter writer;
  Checkpointer checkpointer;
  Walker walker;
  Reclaimer reclaimer;
  MovePace move_pace;
  Members members;
  Defragmenter defragmenter;
  Scrubber scrubber;
  Checker checker;
  PinMover pin_mover;
  Promoter promoter;
  FullnessWatch fullness;
  SummaryCache summaries;
  Healer healer;
  Origins origins{settings};
  WrittenTimes written_times;    // of cuts
  std::vector<EpochCut> epochs;  // that have ended; guarded by log.order() once it serves
  uint64_t recovered_entries = 0;
  std::function<void(DeviceId)> changed;

  static constexpr size_t lost_limit = 65536;  // ranges that are listed

  // Data blocks written into layers: since the newest cut, and before it but not merged yet.
  std::atomic<uint64_t> unmerged_blocks{0}, merging_blocks{0};
  // Data blocks that may have died in this life: they were several devices', or a device's that is
  // gone; and how many of them the newest walk knew of.
  std::atomic<uint64_t> dead_blocks{0}, dead_walked{0};
  uint64_t maybe_dead_blocks() const {
    const uint64_t walked = dead_walked, all = dead_blocks;
    return all > walked ? all - walked : 0;
  }

 private:
  Settings::Aging aging_of_blob(const std::string& blob) const;
  bool checkpoint_due(uint64_t bytes, uint64_t entries) const;
  // Runs `work` on the background executor; not once the pool closes. `once`: what is true from
  // here on, and says that there need not be another, until `work` takes it back.
  void start_in_background(Task<void> (PoolState::*work)(), bool PoolState::*once);
  Task<void> run_in_background(Task<void> (PoolState::*work)());
  // Whether `work` goes on, because it was asked for while it ran; if not, takes `once` back.
  bool wanted_again(const std::function<bool()>& wanted, bool PoolState::*once);
  Task<void> checkpoint_and_reclaim();
  Task<void> checkpoint_soon();
  Task<void> prepare();
  Task<void> show_space();
  Task<void> answer_figures();
  Task<void> answer_aging();
  Task<void> answer_defragmenting();
  Task<void> answer_scrubbing();
  Task<void> answer_checking();
  Task<void> follow_pins();
  Task<void> watch_idle();
  Task<void> watch_origins();
  Task<void> empty_leaving();
  Task<void> heal();
  Task<void> sleep_unless_closing(uint64_t duration_ns);

  std::atomic<uint64_t> segment_in_ns_{UINT64_MAX};  // how long the log was in the segment before
  std::atomic<uint64_t> segment_since_ns_{0};        // when it left that
  mutable Mutex background_mutex_;
  uint32_t background_ GUARDED_BY(background_mutex_) = 0;
  bool checkpoint_started_ GUARDED_BY(background_mutex_) = false;
  bool checkpoint_soon_ GUARDED_BY(background_mutex_) = false;
  bool showing_started_ GUARDED_BY(background_mutex_) = false;
  bool figures_started_ GUARDED_BY(background_mutex_) = false;
  bool aging_started_ GUARDED_BY(background_mutex_) = false;
  bool watching_started_ GUARDED_BY(background_mutex_) = false;
  bool watching_origins_started_ GUARDED_BY(background_mutex_) = false;
  bool emptying_started_ GUARDED_BY(background_mutex_) = false;
  bool defragmenting_started_ GUARDED_BY(background_mutex_) = false;
  bool healing_started_ GUARDED_BY(background_mutex_) = false;
  bool scrubbing_started_ GUARDED_BY(background_mutex_) = false;
  bool checking_started_ GUARDED_BY(background_mutex_) = false;
  bool closing_ GUARDED_BY(background_mutex_) = false;
  Waiters background_ended_ GUARDED_BY(background_mutex_);
  mutable Mutex policies_mutex_;
  std::map<std::string, Settings::Aging> added_aging_ GUARDED_BY(policies_mutex_);
  std::map<std::string, int> added_levels_ GUARDED_BY(policies_mutex_);
  mutable Mutex images_mutex_;
  ImagePtr newest_ GUARDED_BY(images_mutex_), older_ GUARDED_BY(images_mutex_);
  mutable std::vector<std::weak_ptr<const Image>> images_ GUARDED_BY(images_mutex_);
};

}  // namespace lamina
