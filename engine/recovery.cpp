// SPDX-License-Identifier: Apache-2.0
#include "engine/recovery.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include "base/check.h"
#include "blobs/segment.h"
#include "engine/log/chain.h"
#include "engine/missing_disk.h"
#include "engine/mutation.h"
#include "engine/orphans.h"
#include "engine/recovery_counters.h"
#include "engine/roll_forward.h"
#include "engine/slots.h"

namespace lamina {
namespace {

// Each epoch begins its numbers a ring's length further, so that they go on with the next place of
// the ring, which is neither the loaded slot's nor K_old's, and past all that the dead epochs can
// have used: up to two more than the loaded one where K_new was lost (A13), and in each epoch at
// most one attempt that came to nothing, since that ended it.
CheckpointNumber next_checkpoint(const Slot& slot, Epoch epoch) {
  if (mutated(Mutation::same_numbers)) return slot.number + 1;
  return slot.number + 1 + uint64_t{epoch - slot.epoch} * slot_ring_length;
}

std::vector<BlockRange> ranges_of(const std::vector<LostRange>& all, DeviceId device) {
  std::vector<BlockRange> ranges;
  for (const LostRange& one : all)
    if (one.device == device && !one.range.empty()) ranges.push_back(one.range);
  return ranges;
}

void restore_devices(PoolState& pool, const Tables& tables, const ImagePtr& image) {
  Lock order(pool.log.order());
  Devices& devices = pool.devices;
  devices.set_image(image);
  devices.root = tables.root;
  devices.root_xattrs = tables.root_xattrs;
  devices.lineage = tables.lineage;
  devices.lost = tables.lost;
  pool.scrubber.set_position(tables.scrub);
  devices.restore_marks(tables.next_device, tables.next_map);
  devices.restore_origins(tables.origins, tables.next_origin);
  for (const DeviceRow& row : tables.devices) {
    auto device = std::make_shared<Device>(row.id);
    device->name = row.name;
    device->size_bytes = row.size_bytes;
    device->attributes = row.attributes;
    device->xattrs = row.xattrs;
    device->created_ns = row.created_ns;
    device->read_only = row.read_only;
    device->origin = row.origin;
    device->reserved_blocks = row.reserved_blocks;
    device->last_fork = row.last_fork;
    device->last_share = row.last_share;
    device->last_copy = row.last_copy;
    device->origins = row.origins;
    device->map =
        std::make_shared<ThinMap>(row.map, row.id, image, row.root, row.mapped_blocks, row.extents);
    device->map->set_suspect(ranges_of(tables.suspect, row.id));
    devices.restore(std::move(device));
  }
}

ImagePtr make_image(const Tables& tables) {
  auto image = std::make_shared<Image>();
  image->number = image->content = tables.number;
  image->cut = tables.cut;
  image->nodes = tables.nodes;
  for (const DeviceRow& row : tables.devices)
    image->maps.push_back({row.map, row.root, row.mapped_blocks, row.extents, row.last_share});
  image->lineage = tables.lineage;
  for (const ImageMap& map : image->maps) image->dead_blocks |= map.last_share > 0;
  return image;
}

// The newest checkpoint whose tables can be read.
struct Chosen {
  Slot slot;
  Tables tables;
  bool fell_back = false;
  uint32_t damaged_pages = 0;       // of the tables, in one copy
  Blobs blobs;                      // the members, which the newest slot decides,
  std::vector<SlotMember> members;  // as it names them
};

Task<Result<Chosen>> choose(const Blobs& blobs, const Secret& secret, const Settings& settings) {
  auto slots = co_await find_slots(blobs, secret);
  if (!slots) co_return forward_error(slots);
  Chosen chosen;
  chosen.members = slots->front().members;
  chosen.blobs = members_of(slots->front(), blobs);
  for (const auto& blob : blobs)
    if (std::ranges::find(chosen.blobs, blob) == chosen.blobs.end())
      settings.log(Settings::Severity::warning,
                   blob->disk().name() + ": the blob \"" + blob->superblock().blob_name +
                       "\" is not a member of this pool (any more), and is left alone; take it "
                       "out of the pool file");
  stand_in_for_missing(chosen.members, settings.force, chosen.blobs);
  LAMINA_CO_TRY(check_members(slots->front(), chosen.blobs, settings.absent));
  for (const auto& blob : chosen.blobs)
    if (is_missing(blob->disk()))
      settings.log(Settings::Severity::error,
                   "the blob \"" + blob->superblock().blob_name +
                       "\" is missing: what lies on it cannot be read, the rest is served");
  for (Slot& slot : *slots) {
    auto tables = co_await read_tables(slot, chosen.blobs, secret, &chosen.damaged_pages);
    if (tables) {
      chosen.slot = std::move(slot);
      chosen.tables = std::move(*tables);
      const Sequence marked = co_await marked_durable(chosen.blobs, chosen.slot.epoch);
      if (!mutated(Mutation::ignore_durable_through))
        chosen.slot.durable_through = std::max(chosen.slot.durable_through, marked);
      size_missing(chosen.tables, chosen.blobs);
      if (chosen.fell_back) count(RecoveryBranch::fell_back_to_older_slot);
      co_return chosen;
    }
    // What comes before it is not what the pool is.
    if (tables.error().code == Code::unsupported) co_return forward_error(tables);
    settings.log(Settings::Severity::warning, tables.error().message);
    chosen.fell_back = true;
  }
  co_return fail(
      Code::corrupt,
      "the tables of every checkpoint are damaged; `lamina check` says where, and `lamina "
      "repair` makes the pool again from what its segments say");
}

class Recovery {
 public:
  Recovery(PoolState& pool, Chosen chosen) : pool_(pool), chosen_(std::move(chosen)) {}

  Task<Result<>> run();

 private:
  Result<> load();
  Result<> unreadable_log(const Error& why) const;
  Result<> apply(const Entry& entry, Generation generation, uint64_t wall_ns,
                 std::span<const std::byte> payload);
  Task<Result<>> settle_shared();
  Task<Result<>> adopt_shared(const std::set<Generation>& wanted);
  Result<> claim_chain();
  Task<Result<>> begin_epoch(RollForward& forward);
  std::optional<SegmentName> where_to_begin() const;
  Task<Result<>> write_again(const RollForward& forward);
  Task<Result<>> confirm_growth();
  Task<Result<>> retire_orphans();
  Task<Result<>> seal_left_open();
  Task<Result<>> drop_unlinked();

  PoolState& pool_;
  Chosen chosen_;
  Checkpointer::Resume resume_;
  std::vector<Orphan> orphans_;
  RollForward::End end_;
  std::map<Generation, Sequence> shared_;               // what aliases name, and the newest of each
  std::vector<std::shared_ptr<TailSegment>> segments_;  // of the chain, with accepted records
};

Result<> Recovery::load() {
  const Tables& tables = chosen_.tables;
  const Slot& slot = chosen_.slot;
  for (const auto& blob : pool_.blobs()) {
    BlobUse use = BlobUse::serves;
    for (const SlotMember& member : chosen_.members)
      if (member.blob == blob->id()) use = member.use;
    if (use == BlobUse::failed) blob->disk().give_up();
    pool_.space.set_use(blob->id(), use);
  }
  pool_.space.load(tables.segments);
  // Segments that the tables themselves went into may be newer than the table of segments in them.
  for (const auto& copy : slot.tables) {
    for (const SlotExtent& run : copy) {
      LAMINA_TRY(pool_.space.claim_named(run.segment, SegmentClass::nodes));
      resume_.tables.push_back(run.segment.generation);
    }
  }
  pool_.healer.note_tables(chosen_.damaged_pages);
  pool_.epochs = tables.epochs;
  resume_.number = slot.number;
  resume_.oldest_backed = slot.oldest_backed;
  resume_.cut = slot.cut;
  resume_.next_node = tables.next_node;
  resume_.next_number = slot.number + 1;
  resume_.metadata_bytes = tables.nodes.count() * block_size + slot.tables_bytes;
  resume_.used_blocks = tables.used_blocks;
  for (const DeviceRow& row : tables.devices) resume_.extents += row.extents;
  pool_.checkpointer.resume(resume_);
  const ImagePtr image = make_image(tables);
  // How much of what is shared has died is not known.
  pool_.dead_blocks = image->dead_blocks;
  restore_devices(pool_, tables, image);
  pool_.add_image(image);
  pool_.space.count_saved();
  pool_.written_times.note(slot.cut, slot.wall_ns);
  pool_.space.set_node_bytes(resume_.metadata_bytes);
  return {};
}

// What a log segment on a disk that is missing holds may have been durable, so no tail is cut for
// it.
Result<> Recovery::unreadable_log(const Error& why) const {
  if (why.code == Code::io)
    for (const auto& blob : pool_.blobs())
      if (is_missing(blob->disk()) && blob->kind() == BlobKind::journal)
        return fail(Code::io, "the log may go on on the disk of the journal blob \"" +
                                  blob->superblock().blob_name +
                                  "\", which is missing: nobody can tell what was written last, so "
                                  "the pool is not served without it; bring that disk back");
  return std::unexpected<Error>(why);
}

Result<> Recovery::apply(const Entry& entry, Generation generation, uint64_t wall_ns,
                         std::span<const std::byte> payload) {
  Lock order(pool_.log.order());
  const bool shares = entry.kind == EntryKind::alias && !is_origin(entry.address);
  if (shares) {
    Sequence& newest = shared_[entry.address.generation];
    newest = std::max(newest, entry.sequence);
  }
  // D2: what a merge is to count.
  if (shares || entry.kind == EntryKind::write) pool_.unmerged_blocks += entry.length.value;
  return pool_.devices.apply(entry, generation, wall_ns, payload);
}

// The log's segments are known by now, and those that the checkpoint knew; what it found dead and a
// copy has shared since is not dead (A5). What the mover had made for a newer checkpoint, which has
// been lost, is free by this one's table, or another's place, or not published yet; but it is
// whole, since it was durable before anybody could share from it, and nothing that was settled so
// late has been freed.
Task<Result<>> Recovery::settle_shared() {
  std::set<Generation> published;
  for (const Segment& s : pool_.space.segments())
    if (s.kind == SegmentClass::log || (s.settled != 0 && s.settled <= chosen_.slot.cut))
      published.insert(s.name.generation);
  std::set<Generation> wanted;
  for (const auto& [generation, copy] : shared_)
    if (!published.contains(generation)) wanted.insert(generation);
  if (!wanted.empty()) LAMINA_CO_TRY(co_await adopt_shared(wanted));
  for (const auto& [generation, copy] : shared_) {
    if (!pool_.space.share(generation, copy))
      co_return fail(Code::corrupt, "a copy names a segment that is not on the medium (A4)");
    pool_.space.mark_emptied(generation);  // perhaps it was, by that checkpoint (D2)
  }
  co_return Result<>{};
}

Task<Result<>> Recovery::adopt_shared(const std::set<Generation>& wanted) {
  for (const auto& blob : pool_.blobs()) {
    std::vector<uint32_t> all(blob->segment_count());
    std::iota(all.begin(), all.end(), 0);
    for (const SegmentHeader& header :
         co_await read_headers(*blob, pool_.identity.pool, std::move(all))) {
      const bool whole = is_moved(header.kind) && header.state == SegmentState::sealed;
      if (!whole || !wanted.contains(header.generation)) continue;
      count(RecoveryBranch::moved_adopted);
      const SegmentName name{blob->id(), header.index, header.generation};
      LAMINA_CO_TRY(pool_.space.claim_named(name, header.kind));
      pool_.space.seal_recovered(name.generation, header.used_end, header.addressed);
      pool_.space.settle(name.generation, chosen_.slot.cut);
    }
  }
  co_return Result<>{};
}

Result<> Recovery::claim_chain() {
  for (const auto& segment : segments_)
    LAMINA_TRY(pool_.space.claim_named(segment->name, SegmentClass::log));
  for (const SegmentName& name : end_.next)
    LAMINA_TRY(pool_.space.claim_named(name, SegmentClass::log));
  return {};
}

Task<Result<>> Recovery::begin_epoch(RollForward& forward) {
  const Slot& slot = chosen_.slot;
  for (const EpochCut& cut : forward.cuts()) pool_.epochs.push_back(cut);
  pool_.epochs.push_back({end_.epoch, end_.last});
  const Epoch epoch = end_.epoch + 1;
  pool_.identity.epoch = epoch;

  const bool nothing_lost = slot.clean && end_.nothing_follows && epoch == slot.epoch + 1;
  const uint32_t lives = epoch - slot.epoch - 1;  // epochs that ended without a checkpoint
  const uint32_t quota = generation_quota(pool_.space.total());
  resume_.next_number = next_checkpoint(slot, epoch);
  pool_.checkpointer.resume(resume_);
  uint32_t next = slot.generation_mark + lives * quota;
  const uint32_t mark = next + quota;
  if (nothing_lost) {
    next = raw(chosen_.tables.next_generation);
    for (const auto& name : end_.next) next = std::max(next, raw(name.generation) + 1);
    for (const auto& copy : slot.tables)
      for (const SlotExtent& run : copy) next = std::max(next, raw(run.segment.generation) + 1);
  }
  pool_.space.set_next_generation(Generation{next});
  pool_.space.set_generation_mark(mark);

  const auto where = where_to_begin();
  if (!where)
    co_return fail(Code::io, "the log cannot go on: every disk that it could go on has failed");
  Blob& blob = pool_.space.blob(where->blob);
  // An earlier recovery may have come this far and no further.
  IoBatch batch;
  const uint64_t offset = blob.offset(where->index, 0);
  if (blob.disk().traits().block_device)
    batch.discard(blob.disk(), offset, blob.segment_bytes());
  else
    batch.prepare(blob.disk(), offset, blob.segment_bytes());
  if (blob.disk().traits().block_device) pool_.counters.discarded += blob.segment_bytes();
  co_await batch;
  pool_.counters.add(Cause::zeroes, batch.zeroed());
  LAMINA_CO_TRY(batch.result());
  const BackedCheckpoints backed{slot.number, slot.oldest_backed};
  co_return co_await pool_.log.start(*where, end_.last, end_.last_checksum, backed);
}

// A3: the last segment that was named and never written, or, where its disk has failed, one before.
std::optional<SegmentName> Recovery::where_to_begin() const {
  const size_t kept = kept_unwritten(end_.next);
  for (size_t i = 1; i <= kept; ++i) {
    const SegmentName& name = end_.next[end_.next.size() - i];
    if (!pool_.space.blob(name.blob).disk().given_up()) return name;
  }
  return std::nullopt;
}

// What the crash left open. Log segments of the chain get their summaries from the records that
// were accepted; the rest is either a place of nodes, which say themselves what they are, or holds
// nothing that anybody refers to.
Task<Result<>> Recovery::seal_left_open() {
  std::set<Generation> known;
  for (const Generation g : pool_.log.held()) known.insert(g);
  for (const auto& segment : segments_) {
    known.insert(segment->name.generation);
    Blob& blob = pool_.space.blob(segment->name.blob);
    if (!segment->memory) segment->memory = Buffer(blob.segment_bytes());
    pool_.sums.pin(segment->name.generation, segment->sums);
    LAMINA_CO_TRY(co_await seal_log_segment(pool_.identity, blob, *segment,
                                            pool_.settings.background->wall_ns(), pool_.counters));
    put_sums(pool_.sums, *segment);
    pool_.sums.unpin(segment->name.generation);
    pool_.space.seal_recovered(segment->name.generation, segment->next_block);
    pool_.space.settle(segment->name.generation, segment->last);
    pool_.space.set_oldest(segment->name.generation, segment->first);
    segment->memory = Buffer();
  }
  for (const Segment& s : pool_.space.segments()) {
    if (known.contains(s.name.generation)) continue;
    if (s.kind == SegmentClass::nodes) {
      if (s.use == SegmentUse::open) pool_.space.seal(s.name.generation, 0);
      continue;
    }
    const bool unpublished =
        s.kind != SegmentClass::log && (s.settled == 0 || s.settled > chosen_.slot.cut);
    if (s.use == SegmentUse::open || (s.use == SegmentUse::sealed && unpublished)) {
      count(RecoveryBranch::orphan_retired);
      pool_.space.retire(s.name.generation);
    }
  }
  pool_.space.settle_nodes(chosen_.slot.number);
  co_return Result<>{};
}

Task<Result<>> Recovery::write_again(const RollForward& forward) {
  // A flush may have been answered by it: it is not given up with its disk.
  for (const RollForward::Unproven& u : forward.unproven())
    if (const Disk& disk = pool_.space.blob(u.segment->name.blob).disk(); disk.given_up())
      co_return fail(Code::io, "what was written last lies on " + disk.name() +
                                   " alone, which takes no writes; -o ro mounts the pool as it is");
  IoBatch batch;
  for (const RollForward::Unproven& u : forward.unproven()) {
    Blob& blob = pool_.space.blob(u.segment->name.blob);
    batch.write(blob.disk(), blob.offset(u.segment->name.index, u.begin),
                u.segment->memory.blocks(u.begin, u.end - u.begin));
    pool_.counters.add(Cause::recovery, uint64_t{u.end - u.begin} * block_size);
  }
  co_await batch;
  co_return batch.result();
}

// Orphans are stamped like all that is retired (C4). And a device that wants whole erase units
// written in order is told that whatever else lies in free segments is gone.
Task<Result<>> Recovery::retire_orphans() {
  for (const Orphan& orphan : orphans_) {
    if (pool_.space.segment(orphan.name.generation)) continue;  // which was shared from since
    count(RecoveryBranch::orphan_retired);
    pool_.space.adopt_retired(orphan.name, orphan.kind);
  }
  for (const auto& blob : pool_.blobs()) {
    if (!blob->disk().traits().block_device) continue;
    IoBatch discards;
    const std::vector<uint32_t> still = pool_.space.free_segments(blob->id());
    for (size_t i = 0; i < still.size();) {
      const uint64_t begin = blob->offset(still[i], 0);
      uint64_t end = begin;
      for (; i < still.size() && blob->offset(still[i], 0) == end; ++i)
        end += blob->segment_bytes();
      discards.discard(blob->disk(), begin, end - begin);
      pool_.counters.discarded += end - begin;
    }
    co_await discards;
    LAMINA_CO_TRY(discards.result());
  }
  co_return Result<>{};
}

// C6: what was removed while open goes now.
Task<Result<>> Recovery::drop_unlinked() {
  std::vector<Entry> drops;
  {
    Lock order(pool_.log.order());
    pool_.devices.for_each([&](const DevicePtr& device) {
      if (!device->name.empty() || mutated(Mutation::keep_unlinked)) return;
      Entry drop;
      drop.kind = EntryKind::drop;
      drop.device = device->id;
      drop.map = device->map->id();
      drops.push_back(std::move(drop));
    });
  }
  for (Entry& drop : drops) {
    LAMINA_CO_TRY(co_await pool_.log.wait_for_room(0, Claim::log));
    count(RecoveryBranch::dropped_unlinked);
    Lock order(pool_.log.order());
    pool_.log.begin(64, 0);
    const Entry& added = pool_.log.add(std::move(drop), {});
    auto applied = pool_.devices.apply(added, Generation::none, 0, {});
    LAMINA_CHECK(applied.has_value());
  }
  co_return Result<>{};
}

// Of a blob that has grown since that checkpoint, superblocks were read that a flush which failed
// may have left in a cache: they are durable before a slot says how large the blob is (A19).
Task<Result<>> Recovery::confirm_growth() {
  const Epoch epoch = pool_.identity.epoch;
  for (const auto& blob : pool_.blobs()) {
    const auto& members = chosen_.slot.members;
    const bool as_it_was = std::ranges::any_of(members, [&](const SlotMember& member) {
      return member.blob == blob->id() && member.segment_count == blob->segment_count();
    });
    if (as_it_was) continue;
    Task<Result<>> writing = blob->write_superblocks(pool_.superblock_access(epoch));
    LAMINA_CO_TRY(co_await writing);
  }
  co_return Result<>{};
}

Task<Result<>> Recovery::run() {
  LAMINA_CO_TRY(load());
  RollForward forward(pool_.blobs(), pool_.identity.secret, chosen_.slot);
  auto rolled = co_await forward.run([this](const Entry& entry, Generation generation,
                                            uint64_t wall_ns, std::span<const std::byte> payload) {
    return apply(entry, generation, wall_ns, payload);
  });
  if (!rolled) co_return unreadable_log(rolled.error());
  end_ = forward.end();
  pool_.identity.epoch = end_.epoch;  // until the next begins
  pool_.recovered_entries = forward.entries();
  segments_ = std::move(forward).segments();
  LAMINA_CO_TRY(claim_chain());
  const bool unclean = !chosen_.slot.clean || !end_.nothing_follows;
  if (unclean) {
    auto found = co_await find_orphans(pool_, chosen_.tables.next_generation, end_.last, end_.next);
    if (!found) co_return forward_error(found);
    orphans_ = std::move(*found);
  }
  LAMINA_CO_TRY(co_await settle_shared());
  co_await pool_.open_origins();
  if (pool_.settings.read_only) {
    // Nothing is sealed, so what sealing would have written stays in memory.
    for (const auto& segment : segments_) pool_.sums.pin(segment->name.generation, segment->sums);
    co_return Result<>{};
  }
  LAMINA_CO_TRY(co_await write_again(forward));
  LAMINA_CO_TRY(co_await confirm_growth());
  // What was read must not go away any more once something is written because of it.
  LAMINA_CO_TRY(co_await pool_.log.flush_all_disks(pool_.identity.epoch));
  // D10: what came to nothing is free before the new epoch takes anything, what only the cut makes
  // void right behind it; so that crashes in a row, on a pool that is full, never run out.
  if (unclean) LAMINA_CO_TRY(co_await retire_orphans());
  LAMINA_CO_TRY(co_await pool_.reclaimer.free_dead());
  LAMINA_CO_TRY(co_await begin_epoch(forward));
  LAMINA_CO_TRY(co_await seal_left_open());
  LAMINA_CO_TRY(co_await pool_.reclaimer.free_dead());
  LAMINA_CO_TRY(co_await drop_unlinked());
  // D10: lives that end without a checkpoint leave a segment of the chain each, and short ones give
  // nothing back: neither may add up.
  const bool again = end_.epoch > chosen_.slot.epoch;
  if (chosen_.fell_back || again) LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
  auto room = co_await pool_.reclaimer.make_room(Claim::log);
  if (!room && room.error().code != Code::no_space) co_return room;
  pool_.log.serve();
  co_return Result<>{};
}

// After a recovery that has failed, which is a crash like any other: whether there is a disk that
// it can be tried again without, because another one can take the log (A19).
bool give_up_failing(const Blobs& blobs) {
  const auto takes_log = [](const std::shared_ptr<Blob>& blob) {
    return blob->kind() == BlobKind::journal && !blob->disk().given_up() &&
           blob->disk().failures() == 0;
  };
  if (std::ranges::none_of(blobs, takes_log)) return false;
  bool any = false;
  for (const auto& blob : blobs) {
    if (blob->disk().failures() == 0 || blob->disk().given_up()) continue;
    blob->disk().give_up();
    any = true;
  }
  return any;
}

}  // namespace

Task<Result<std::unique_ptr<PoolState>>> recover(Blobs blobs, Settings settings) {
  if (blobs.empty()) co_return fail(Code::invalid, "a pool has at least one journal blob");
  if (!settings.background) settings.background = &Executor::current();
  PoolIdentity identity;
  identity.pool = blobs[0]->superblock().pool;
  identity.secret = blobs[0]->superblock().secret;
  for (const auto& blob : blobs)
    if (blob->superblock().pool != identity.pool)
      co_return fail(Code::invalid, blob->disk().name() + " belongs to another pool");
  const std::string name = blobs[0]->superblock().pool_name;
  for (;;) {
    auto chosen = co_await choose(blobs, identity.secret, settings);
    if (!chosen) co_return forward_error(chosen);
    const Blobs members = chosen->blobs;
    auto pool = std::make_unique<PoolState>(members, settings, identity, name);
    Result<> recovered;
    {
      Recovery recovery(*pool, std::move(*chosen));
      recovered = co_await recovery.run();
    }
    if (recovered) co_return pool;
    co_await pool->log.stop();
    pool.reset();
    if (!give_up_failing(members)) co_return forward_error(recovered);
    settings.log(Settings::Severity::error,
                 recovered.error().message + "; the pool opens without writing to that disk");
  }
}

}  // namespace lamina
