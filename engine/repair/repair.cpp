// SPDX-License-Identifier: Apache-2.0
#include "engine/repair/repair.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "base/endian.h"
#include "blobs/segment.h"
#include "engine/log/records.h"
#include "engine/log/seal.h"
#include "engine/missing_disk.h"
#include "engine/pool_state.h"
#include "engine/rebuild.h"
#include "engine/repair/doubts.h"
#include "engine/repair/find_end.h"
#include "engine/repair/replay.h"
#include "engine/repair/restate.h"
#include "engine/repair/tree_witness.h"
#include "engine/repair/unproven.h"

namespace lamina {
namespace {

std::vector<EpochCut> distinct(std::vector<EpochCut> cuts) {
  const auto key = [](const EpochCut& cut) { return std::pair(cut.epoch, cut.cut); };
  std::ranges::sort(cuts, {}, key);
  const auto again = std::ranges::unique(cuts);
  cuts.erase(again.begin(), again.end());
  return cuts;
}

class Repair {
 public:
  // `keeps_away`: as kept_away() says.
  Repair(Blobs blobs, Settings settings, bool accept_suspect, bool keeps_away)
      : blobs_(std::move(blobs)),
        settings_(std::move(settings)),
        accept_suspect_(accept_suspect),
        keeps_away_(keeps_away) {}

  Task<Result<RepairReport>> run();

 private:
  std::vector<SegmentName> kept_away(const Scan& scan) const;
  void load_space(const Scan& scan);
  std::set<Generation> origins_of(MapId map) const;
  void load_devices();
  void suspect(const Doubts& doubts);
  Checkpointer::Resume resume() const;
  Task<Result<>> seal_log();
  Task<Result<>> write_what_is_told();
  Task<Result<>> clear_bad_slots();

  const Blobs blobs_;
  const Settings settings_;
  const bool accept_suspect_, keeps_away_;
  std::unique_ptr<PoolState> pool_;
  std::unique_ptr<Rebuilt> rebuilt_;
  Sequence end_ = 0;
  RepairReport report_;
};

// Places where something may be, or was that is gone, or where the log was to go on: were they
// used, and the repair cut off, the next one would take what was there for freed, or for never
// written.
std::vector<SegmentName> Repair::kept_away(const Scan& scan) const {
  std::vector<SegmentName> kept = scan.headerless;
  if (!keeps_away_ || report_.untold.empty()) return kept;
  kept.insert(kept.end(), report_.untold.begin(), report_.untold.end());
  Generation newest = Generation::none;
  for (const ScannedSegment& segment : scan.segments)
    if (segment.header.kind == SegmentClass::log)
      newest = std::max(newest, segment.header.generation);
  for (const auto& [generation, name] : scan.named)
    if (generation > newest) kept.push_back(name);
  return kept;
}

// Each segment as its header has it: full, and settled long ago, but for what does not count. What
// is free by its header is, and nothing else; a walk will say what of the rest is alive.
void Repair::load_space(const Scan& scan) {
  std::map<size_t, Sequence> oldest;
  for (const ScannedEntry& scanned : scan.entries) {
    Sequence& of_segment = oldest.emplace(scanned.segment, scanned.entry.sequence).first->second;
    of_segment = std::min(of_segment, scanned.entry.sequence);
  }
  PoolIdentity identity;
  identity.pool = blobs_[0]->superblock().pool;
  identity.secret = blobs_[0]->superblock().secret;
  identity.epoch = scan.epoch + 1;
  pool_ =
      std::make_unique<PoolState>(blobs_, settings_, identity, blobs_[0]->superblock().pool_name);
  for (const auto& blob : blobs_)
    if (is_missing(blob->disk())) pool_->space.set_use(blob->id(), BlobUse::failed);
  std::vector<Segment> rows;
  for (size_t i = 0; i < scan.segments.size(); ++i) {
    const SegmentHeader& header = scan.segments[i].header;
    Segment row;
    row.name = {header.blob, header.index, header.generation};
    row.use = SegmentUse::sealed;
    row.kind = header.kind;
    row.used_blocks = header.used_end;
    row.addressed = header.addressed;
    if (row.holds_data()) row.settled = scan.segments[i].unproven ? std::max<Sequence>(end_, 1) : 1;
    if (const auto found = oldest.find(i); found != oldest.end()) row.oldest = found->second;
    rows.push_back(row);
  }
  report_.segments = rows.size();
  uint32_t next = scan.next_generation + generation_quota(pool_->space.total());
  std::set<std::pair<BlobId, uint32_t>> taken;
  for (const Segment& row : rows) taken.emplace(row.name.blob, row.name.index);
  for (const SegmentName& name : kept_away(scan)) {
    const auto blob = std::ranges::find(blobs_, name.blob, [](const auto& b) { return b->id(); });
    if (blob == blobs_.end() || name.index >= (*blob)->segment_count() ||
        !taken.emplace(name.blob, name.index).second)
      continue;
    Segment row;
    row.name = {name.blob, name.index, Generation{next++}};
    row.use = SegmentUse::sealed;
    row.settled = 1;
    rows.push_back(row);
  }
  pool_->space.load(rows);
  pool_->space.set_next_generation(Generation{next});
}

// What any entry that the map sees names: it may have been overwritten since.
std::set<Generation> Repair::origins_of(MapId map) const {
  std::set<MapId> seen;
  for (const Sight& sight : sights(rebuilt_->lineage(), map)) seen.insert(sight.map);
  std::set<Generation> origins;
  for (const ScannedEntry& scanned : rebuilt_->scan().entries)
    if (scanned.entry.kind == EntryKind::alias && is_origin(scanned.entry.address) &&
        seen.contains(scanned.entry.map))
      origins.insert(scanned.entry.address.generation);
  return origins;
}

void Repair::load_devices() {
  const Scan& scan = rebuilt_->scan();
  const auto image = std::make_shared<Image>();
  std::vector<ReplayedMap> wanted;
  for (const auto& [id, device] : rebuilt_->devices()) wanted.push_back({device.row.map, id});
  auto maps = replay_maps(scan, rebuilt_->lineage(), wanted, image);
  Lock order(pool_->log.order());
  Devices& devices = pool_->devices;
  devices.set_image(image);
  const auto next_origin = rebuilt_->origins().empty()
                               ? scan.tables.next_origin
                               : std::max(scan.tables.next_origin,
                                          Generation{raw(rebuilt_->origins().rbegin()->first) + 1});
  devices.restore_origins(rebuilt_->origins(), next_origin);
  devices.root = rebuilt_->root();
  devices.root_xattrs = scan.tables.root_xattrs;
  devices.lineage = rebuilt_->lineage();
  devices.lost = scan.tables.lost;
  devices.restore_marks(scan.tables.next_device, scan.tables.next_map);
  for (const auto& [id, rebuilt] : rebuilt_->devices()) {
    const DeviceRow& row = rebuilt.row;
    auto device = std::make_shared<Device>(id);
    device->name = row.name;
    device->size_bytes = row.size_bytes;
    device->attributes = row.attributes;
    device->xattrs = row.xattrs;
    device->created_ns = row.created_ns;
    device->read_only = row.read_only;
    device->origin = row.origin;
    device->reserved_blocks = row.reserved_blocks;
    device->last_copy = row.last_copy;
    device->origins = origins_of(row.map);
    device->map = maps.at(row.map);
    devices.restore(std::move(device));
    devices.restore_marks(DeviceId{raw(id) + 1}, MapId{raw(row.map) + 1});
  }
  for (const ScannedEntry& scanned : scan.entries)  // also of those that are not known to be made
    devices.restore_marks(DeviceId{raw(scanned.entry.device) + 1},
                          MapId{raw(scanned.entry.map) + 1});
  for (const LineageRow& row : rebuilt_->lineage())
    devices.restore_marks(DeviceId{raw(row.device) + 1}, MapId{raw(row.map) + 1});
  pool_->add_image(image);
  report_.devices = rebuilt_->devices().size();
}

// Below everything that will be written, above all that was found.
void Repair::suspect(const Doubts& doubts) {
  Lock order(pool_->log.order());
  pool_->devices.for_each([&](const DevicePtr& device) {
    const auto found = doubts.find(device->map->id());
    if (found == doubts.end()) return;
    (void)device->map->cut(end_);
    device->map->set_suspect(found->second, end_);
  });
  report_.suspect = pool_->devices.suspect();
}

// Past every number that any attempt at a checkpoint had, and in no way its successor: there is no
// older one to fall back to (A13).
Checkpointer::Resume Repair::resume() const {
  const Scan& scan = rebuilt_->scan();
  Checkpointer::Resume resume;
  resume.next_number = scan.checkpoint + 1 + slot_ring_length;
  resume.next_node = scan.tables.next_node;
  return resume;
}

// Segments of the log that have no good summary, or hold what nobody knows to be durable: their
// records say what they hold, as far as they count. What was read of them a flush may have failed
// on, so it is written again as it is (A19).
Task<Result<>> Repair::seal_log() {
  for (const ScannedSegment& scanned : rebuilt_->scan().segments) {
    const SegmentHeader header = scanned.header;
    if (!scanned.by_records) continue;
    auto loading = load_segment(*scanned.blob, {header.blob, header.index, header.generation});
    auto loaded = co_await loading;
    if (!loaded) co_return forward_error(loaded);
    TailSegment& segment = **loaded;
    const std::vector<EpochCut>& cuts = rebuilt_->scan().cuts;
    note_records(
        segment, header.secret, header.blocks,
        [&](const RecordHeader& record) {
          return record.epoch == header.epoch && !is_void(cuts, record.epoch, record.body.first);
        },
        true, scanned.behind ? &*scanned.behind : nullptr);
    if (segment.first == 0) continue;
    segment.epoch = header.epoch;
    const uint32_t begin = payload_begin(header.kind, header.blocks, header.front_blocks);
    IoBatch again;
    again.write(scanned.blob->disk(), scanned.blob->offset(header.index, begin),
                segment.memory.blocks(begin, segment.next_block - begin));
    co_await again;
    LAMINA_CO_TRY(again.result());
    auto sealing = seal_log_segment(pool_->identity, *scanned.blob, segment,
                                    pool_->settings.background->wall_ns(), pool_->counters);
    LAMINA_CO_TRY(co_await sealing);
    pool_->space.seal_recovered(header.generation, segment.next_block);
  }
  co_return Result<>{};
}

// Headers, and arrays of checksums, of segments that the rest of them tells; the log's are mostly
// sealed again, those of nodes are not needed any more.
Task<Result<>> Repair::write_what_is_told() {
  std::vector<Buffer> blocks;
  IoBatch writes;
  for (const ScannedSegment& scanned : rebuilt_->scan().segments) {
    const SegmentHeader& header = scanned.header;
    if (!scanned.told || scanned.by_records) continue;
    if (scanned.header_lost && header.used_end > 0) {
      blocks.emplace_back(block_size);
      pack_segment_header(header, blocks.back().span());
      writes.write(scanned.blob->disk(), scanned.blob->offset(header.index, 0),
                   blocks.back().span());
    }
    // All of it was made again, or nothing.
    if (!scanned.bad_arrays.empty() && scanned.summed.front()) {
      Buffer array(uint64_t{array_blocks(header.kind, header.blocks)} * block_size);
      std::vector<uint32_t> words = scanned.sums;
      words.resize(std::min(words.size(), array.size() / sizeof(le32)));
      store_sums(words, array.span());
      blocks.push_back(std::move(array));
      for (const uint32_t at : scanned.bad_arrays)
        writes.write(scanned.blob->disk(), scanned.blob->offset(header.index, at),
                     blocks.back().span());
    }
  }
  co_await writes;
  co_return writes.result();
}

// What is no slot where one may be would be taken for damage again.
Task<Result<>> Repair::clear_bad_slots() {
  Buffer zeroes(block_size), block(block_size);
  std::memset(zeroes.data(), 0, zeroes.size());
  IoBatch writes;
  for (const auto& blob : blobs_) {
    if (is_missing(blob->disk())) continue;
    for (CheckpointNumber number = 0; number < slot_ring_length; ++number)
      for (const uint64_t offset : blob->slot_offsets(number)) {
        IoBatch reading;
        reading.read(blob->disk(), offset, block.span());
        co_await reading;
        const auto place = static_cast<uint32_t>(offset / block_size);
        const bool good =
            reading.ok() && unpack_slot(block.span(), pool_->identity.secret, blob->id(), place);
        if (!good) writes.write(blob->disk(), offset, zeroes.span());
      }
  }
  co_await writes;
  LAMINA_CO_TRY(writes.result());
  co_return co_await pool_->log.flush_all_disks(pool_->identity.epoch);
}

Task<Result<RepairReport>> Repair::run() {
  std::vector<Blob*> blobs;
  for (const auto& blob : blobs_) blobs.push_back(blob.get());
  auto scanning = scan_segments(std::move(blobs));
  auto scan = co_await scanning;
  if (!scan) co_return forward_error(scan);
  end_ = report_.last = find_end(*scan);
  MissingEntries missing;
  if (scan->has_tables) missing = missing_entries(*scan, end_);
  report_.missing_entries = missing.count;
  LAMINA_CO_TRY(co_await drop_unproven(*scan));
  report_.damaged_summaries = scan->damaged_summaries;
  report_.untold = untold(*scan);
  auto looking_behind = may_have_gone_on(*scan, report_.untold);
  report_.end_in_doubt = co_await looking_behind;
  const Sequence doubted =
      doubted_through(*scan, report_.untold, missing, end_, report_.end_in_doubt);
  report_.untold.insert(report_.untold.end(), scan->torn.begin(), scan->torn.end());
  load_space(*scan);
  auto asking = ask_trees(*scan, report_.untold, facts_to_restate(*pool_));
  const DoubtedByTrees by_trees = co_await asking;
  if (scan->has_tables) LAMINA_CO_TRY(co_await restate(*pool_, *scan));
  auto rebuilding = Rebuilt::from(std::move(*scan), false);
  auto rebuilt = co_await rebuilding;
  if (!rebuilt) co_return forward_error(rebuilt);
  rebuilt_ = std::make_unique<Rebuilt>(std::move(*rebuilt));
  load_devices();
  if (!accept_suspect_) suspect(find_doubts(*rebuilt_, by_trees, doubted));
  pool_->epochs = distinct(rebuilt_->scan().cuts);
  pool_->checkpointer.resume(resume());
  LAMINA_CO_TRY(co_await seal_log());
  LAMINA_CO_TRY(co_await write_what_is_told());
  LAMINA_CO_TRY(pool_->log.name_first(end_));
  LAMINA_CO_TRY(co_await pool_->checkpointer.run(true, true));
  LAMINA_CO_TRY(co_await clear_bad_slots());
  report_.checkpoint = pool_->checkpointer.number();
  report_.extents = pool_->checkpointer.extents();
  co_return report_;
}

}  // namespace

Task<Result<RepairReport>> repair(Blobs blobs, Settings settings, bool accept_suspect) {
  if (blobs.empty()) co_return fail(Code::invalid, "a pool has at least one journal blob");
  if (!settings.background) settings.background = &Executor::current();
  Repair careful(blobs, settings, accept_suspect, true);
  auto trying = careful.run();
  auto report = co_await trying;
  if (report || report.error().code != Code::no_space) co_return report;
  // A full pool may have no place to spare.
  Repair without(std::move(blobs), std::move(settings), accept_suspect, false);
  auto running = without.run();
  co_return co_await running;
}

}  // namespace lamina
