// SPDX-License-Identifier: Apache-2.0
#include "compare_repaired.h"

#include <algorithm>
#include <map>

#include "blobs/segment.h"
#include "blobs/sim_disk.h"
#include "engine/missing_disk.h"
#include "engine/repair/find_end.h"
#include "engine/repair/repair.h"
#include "engine/slots.h"
#include "engine/tables.h"
#include "harm.h"
#include "text.h"

namespace lamina::sim {
namespace {

using FoundDisk = PoolMachine::FoundDisk;

void spoil(SimMedium& medium, uint64_t offset, std::mt19937_64& random) {
  Buffer noise(block_size);
  for (std::byte& byte : noise.span().first(64)) byte = static_cast<std::byte>(random());
  medium.damage(offset, noise.span());
}

// Every slot and every node: all metadata but headers, summaries, records and tables.
void spoil_metadata(const FoundDisk& disk, std::mt19937_64& random) {
  SimMedium& medium = *disk.medium;
  const Blob blob(nullptr, disk.superblock);  // for its geometry
  for (CheckpointNumber number = 0; number < slot_ring_length; ++number)
    for (const uint64_t offset : blob.slot_offsets(number)) spoil(medium, offset, random);
  Buffer block(block_size);
  for (uint32_t segment = 0; segment < blob.segment_count(); ++segment) {
    medium.read(blob.offset(segment, 0), block.span());
    const auto header = unpack_segment_header(block.span());
    if (!header || header->kind != SegmentClass::nodes) continue;
    for (uint32_t at = 1; at < header->blocks; ++at) {
      medium.read(blob.offset(segment, at), block.span());
      const MetadataPlace place{blob.id(), segment, header->generation, at};
      if (!unpack_tables_page(block.span(), header->secret, place))
        spoil(medium, blob.offset(segment, at), random);
    }
  }
}

// All but the dead one.
Blobs open_blobs(const std::vector<FoundDisk>& disks, const Harm& harm, SimExecutor& executor) {
  Blobs blobs;
  for (size_t i = 0; i < disks.size(); ++i)
    if (harm.disk != i)
      blobs.push_back(
          std::make_shared<Blob>(open_sim_disk(*disks[i].medium, executor), disks[i].superblock));
  return blobs;
}

// `harmed`: what nobody can tell any more may be EIO, and a device that it made, or named, not be
// there.
Task<void> compare_device(Pool& pool, const Oracle::Found& found, bool harmed, Report& report) {
  const auto info = pool.find(found.info.name);
  if (harmed && (!info || info->id != found.info.id)) co_return;
  if (!info) {
    report.violation("repaired: no device " + found.info.name);
    co_return;
  }
  if (!harmed && (info->id != found.info.id || info->size_bytes != found.info.size_bytes ||
                  info->read_only != found.info.read_only ||
                  Permissions::of(info->attributes) != Permissions::of(found.info.attributes)))
    report.violation(text("repaired: another size, id or mode of ", found.info.name, ": id ",
                          raw(info->id), " for ", raw(found.info.id), ", ", info->size_bytes,
                          " bytes for ", found.info.size_bytes, ", read-only ", info->read_only,
                          " for ", found.info.read_only, ", mode ", info->attributes.mode, " for ",
                          found.info.attributes.mode));
  for (const auto& [name, value] : found.xattrs)
    if (!harmed && pool.get_xattr(info->id, name) != value)
      report.violation(text("repaired: another xattr ", name, " of ", found.info.name));
  for (const auto& [block, bytes] : found.blocks) {
    if (found.unreadable.contains(block) || (harmed && block * block_size >= info->size_bytes))
      continue;
    Buffer buffer(block_size);
    auto task = pool.read(info->id, block * block_size, buffer.span().first(bytes.size()));
    const Result<size_t> got = co_await task;
    if (harmed && !got && got.error().code == Code::io) continue;
    if (got && begins_with(buffer.span(), bytes)) continue;
    report.violation(got ? text("repaired: block ", block, " of ", found.info.name, " holds ",
                                describe_block(buffer.span()), ", the pool shows ",
                                describe_block(bytes))
                         : text("repaired: block ", block, " of ", found.info.name,
                                " cannot be read: ", got.error().message));
    co_return;
  }
}

Task<void> flush(Blobs blobs) {
  IoBatch batch;
  for (const auto& blob : blobs) batch.flush(blob->disk());
  co_await batch;
}

Task<void> read_end(Blobs blobs, Sequence& end) {
  std::vector<Blob*> all;
  for (const auto& blob : blobs) all.push_back(blob.get());
  auto scanning = scan_segments(std::move(all));
  auto scan = co_await scanning;
  if (scan) end = find_end(*scan);
}

// What stands in for the dead disk comes last.
Task<void> add_missing(Blobs& blobs, const Superblock& dead) {
  auto finding = find_slots(blobs, blobs.front()->superblock().secret);
  const auto slots = co_await finding;
  if (!slots) co_return;
  for (const SlotMember& member : slots->front().members)
    if (member.blob == dead.blob)
      blobs.push_back(missing_blob(member, *blobs.front(), dead.segment_blocks));
}

struct Outcome {
  Sequence last = 0;
  bool nothing_left = false;  // no tables of any checkpoint are
};

Task<void> try_repair(Blobs blobs, Settings settings, std::optional<Superblock> dead, bool harmed,
                      Outcome& outcome, Report& report) {
  if (dead) {
    auto adding = add_missing(blobs, *dead);
    co_await adding;
  }
  auto repairing = repair(std::move(blobs), std::move(settings), false);
  const auto repaired = co_await repairing;
  if (repaired) outcome.last = repaired->last;
  outcome.nothing_left = harmed && !repaired && repaired.error().code == Code::not_found;
  if (!repaired && !outcome.nothing_left)
    report.violation("it cannot be repaired: " + repaired.error().message);
}

// What users do with what is suspect: the first block of it, by device, that was written.
using Written = std::map<DeviceId, uint64_t>;

std::vector<std::byte> something() {
  return std::vector<std::byte>(block_size, std::byte{0x5a});
}

// Each is forked and then written to. What finds no room is not done.
Task<void> use_suspects(Pool& pool, std::vector<Oracle::Found>& found, Written& written) {
  const std::vector<LostRange> suspect = pool.suspect();
  for (const LostRange& range : suspect) {
    const auto info = pool.info(range.device);
    const auto same =
        std::ranges::find(found, range.name, [](const auto& f) { return f.info.name; });
    if (!info || info->read_only || written.contains(range.device) || same == found.end() ||
        same->info.id != range.device)
      continue;
    const uint64_t block = range.range.begin.value;
    const std::string name = "fork" + std::to_string(raw(range.device));
    std::vector<Pool::Fork> forks{{range.device, name}};
    auto forking = pool.fork(std::move(forks), false);
    const auto forked = co_await forking;
    const std::vector<std::byte> data = something();
    auto writing = pool.write(range.device, block * block_size, data);
    const Result<> wrote = co_await writing;
    if (!wrote) continue;
    written[range.device] = block;
    if (!forked) continue;
    Oracle::Found copy = *same;
    copy.info = forked->front();
    found.push_back(std::move(copy));
  }
  auto checkpointing = pool.checkpoint();
  (void)co_await checkpointing;
}

Task<void> compare_written(Pool& pool, std::vector<Oracle::Found>& found, const Written& written,
                           Report& report) {
  for (const auto& [device, block] : written) {
    std::vector<std::byte> got(block_size);
    auto reading = pool.read(device, block * block_size, got);
    const Result<size_t> read = co_await reading;
    const size_t length = read.value_or(0);
    const std::vector<std::byte> wanted = something();
    if (!read ||
        !std::equal(got.begin(), got.begin() + static_cast<ptrdiff_t>(length), wanted.begin()))
      report.violation(text("repaired: block ", block, " of device ", raw(device),
                            " was suspect and has been written, and is not what was written"));
    for (Oracle::Found& one : found)
      if (one.info.id == device) one.blocks.erase(block);
  }
}

// `harmed`: twice, the second time after users have worked with it.
Task<void> open_and_compare(Blobs blobs, Settings settings, std::vector<Oracle::Found>& found,
                            bool harmed, Written& written, Report& report) {
  auto opening = Pool::open(blobs, settings);
  auto pool = co_await opening;
  if (!pool) {
    report.violation("repaired, it does not open: " + pool.error().message);
    co_return;
  }
  if (!harmed && (*pool)->list().size() != found.size())
    report.violation(
        text("repaired: ", (*pool)->list().size(), " devices, the pool shows ", found.size()));
  auto comparing_written = compare_written(**pool, found, written, report);
  co_await comparing_written;
  for (const Oracle::Found& device : found) {
    if (!report.ok()) break;
    auto comparing = compare_device(**pool, device, harmed, report);
    co_await comparing;
  }
  if (harmed && written.empty()) {
    auto using_them = use_suspects(**pool, found, written);
    co_await using_them;
  }
  auto closing = (*pool)->close();
  const Result<> closed = co_await closing;
  if (!closed) report.violation("repaired, it does not close: " + closed.error().message);
}

}  // namespace

void compare_repaired(PoolMachine& machine, const std::vector<Oracle::Found>& found,
                      std::mt19937_64& random, Report& report) {
  const std::vector<FoundDisk> disks = machine.take_found();
  for (const FoundDisk& disk : disks)
    disk.medium->on_violation([](const std::string&) {});  // the watchers look at the pool's media
  Sequence end = 0;
  {
    SimExecutor executor(random());
    executor.run_until(read_end(open_blobs(disks, {}, executor), end));
  }
  const Harm harm = do_harm(disks, random);
  if (harm.nodes)
    for (const FoundDisk& disk : disks) spoil_metadata(disk, random);
  Settings settings = machine.settings();
  settings.open_image = machine.open_image();
  settings.log = [](Settings::Severity, const std::string&) {};
  // What only lies in a cache may vanish while it repairs, and is no loss; the pool had made it
  // durable.
  {
    SimExecutor executor(random());
    executor.run_until(flush(open_blobs(disks, harm, executor)));
  }
  // Now and then it is cut off, and begun again.
  std::optional<Superblock> dead;
  if (harm.disk) dead = disks[*harm.disk].superblock;
  Outcome outcome;
  for (bool repaired = false; !repaired;) {
    SimExecutor executor(random());
    if (random() % 2) executor.crash_after(1 + random() % 400);
    repaired = executor.run_until(
        try_repair(open_blobs(disks, harm, executor), settings, dead, harm.any, outcome, report));
    if (!report.ok() || outcome.nothing_left) return;
    if (!repaired)
      for (const FoundDisk& disk : disks) disk.medium->power_cut(random);
  }
  // What proved that the log went on may be what was destroyed: an end before it is one that the
  // pool passed through (B1), and nothing to compare with.
  if (harm.any && outcome.last < end) return;
  std::vector<Oracle::Found> expected = found;
  Written written;
  for (int round = 0; round < 2 && report.ok() && (round == 0 || !written.empty()); ++round) {
    SimExecutor executor(random());
    executor.run_until(open_and_compare(open_blobs(disks, harm, executor), settings, expected,
                                        harm.any, written, report));
  }
}

}  // namespace lamina::sim
