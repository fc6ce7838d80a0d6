// SPDX-License-Identifier: Apache-2.0
#include "compare_repaired.h"

#include <algorithm>

#include "blobs/segment.h"
#include "blobs/sim_disk.h"
#include "engine/repair/repair.h"
#include "engine/tables.h"
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

Blobs open_blobs(const std::vector<FoundDisk>& disks, SimExecutor& executor) {
  Blobs blobs;
  for (const FoundDisk& disk : disks)
    blobs.push_back(
        std::make_shared<Blob>(open_sim_disk(*disk.medium, executor), disk.superblock));
  return blobs;
}

Task<void> compare_device(Pool& pool, const Oracle::Found& found, Report& report) {
  const auto info = pool.find(found.info.name);
  if (!info) {
    report.violation("repaired: no device " + found.info.name);
    co_return;
  }
  if (info->id != found.info.id || info->size_bytes != found.info.size_bytes ||
      info->read_only != found.info.read_only ||
      Permissions::of(info->attributes) != Permissions::of(found.info.attributes))
    report.violation(text("repaired: another size, id or mode of ", found.info.name, ": id ",
                          raw(info->id), " for ", raw(found.info.id), ", ", info->size_bytes,
                          " bytes for ", found.info.size_bytes, ", read-only ", info->read_only,
                          " for ", found.info.read_only, ", mode ", info->attributes.mode, " for ",
                          found.info.attributes.mode));
  for (const auto& [name, value] : found.xattrs)
    if (pool.get_xattr(info->id, name) != value)
      report.violation(text("repaired: another xattr ", name, " of ", found.info.name));
  for (const auto& [block, bytes] : found.blocks) {
    if (found.unreadable.contains(block)) continue;
    Buffer buffer(block_size);
    auto task = pool.read(info->id, block * block_size, buffer.span().first(bytes.size()));
    const Result<size_t> got = co_await task;
    if (got && std::equal(bytes.begin(), bytes.end(), buffer.data())) continue;
    report.violation(
        got ? text("repaired: block ", block, " of ", found.info.name, " holds ",
                   describe_block(buffer.span()), ", the pool shows ", describe_block(bytes))
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

Task<void> try_repair(Blobs blobs, Settings settings, Report& report) {
  auto repairing = repair(std::move(blobs), std::move(settings), false);
  const auto repaired = co_await repairing;
  if (!repaired) report.violation("it cannot be repaired: " + repaired.error().message);
}

Task<void> open_and_compare(Blobs blobs, Settings settings,
                            const std::vector<Oracle::Found>& found, Report& report) {
  auto opening = Pool::open(blobs, settings);
  auto pool = co_await opening;
  if (!pool) {
    report.violation("repaired, it does not open: " + pool.error().message);
    co_return;
  }
  if ((*pool)->list().size() != found.size())
    report.violation(text("repaired: ", (*pool)->list().size(), " devices, the pool shows ",
                          found.size()));
  for (const Oracle::Found& device : found) {
    if (!report.ok()) break;
    auto comparing = compare_device(**pool, device, report);
    co_await comparing;
  }
  auto closing = (*pool)->close();
  const Result<> closed = co_await closing;
  if (!closed) report.violation("repaired, it does not close: " + closed.error().message);
}

}  // namespace

void compare_repaired(PoolMachine& machine, const std::vector<Oracle::Found>& found,
                      std::mt19937_64& random, Report& report) {
  const std::vector<FoundDisk> disks = machine.take_found();
  for (const FoundDisk& disk : disks) {
    disk.medium->on_violation([](const std::string&) {});  // the watchers look at the pool's media
    spoil_metadata(disk, random);
  }
  Settings settings = machine.settings();
  settings.open_image = machine.open_image();
  settings.log = [](Settings::Severity, const std::string&) {};
  // What only lies in a cache may vanish while it repairs, and is no loss; the pool had made it
  // durable.
  {
    SimExecutor executor(random());
    executor.run_until(flush(open_blobs(disks, executor)));
  }
  // Now and then it is cut off, and begun again.
  for (bool repaired = false; !repaired;) {
    SimExecutor executor(random());
    if (random() % 2) executor.crash_after(1 + random() % 400);
    repaired = executor.run_until(try_repair(open_blobs(disks, executor), settings, report));
    if (!report.ok()) return;
    if (!repaired)
      for (const FoundDisk& disk : disks) disk.medium->power_cut(random);
  }
  SimExecutor executor(random());
  executor.run_until(open_and_compare(open_blobs(disks, executor), settings, found, report));
}

}  // namespace lamina::sim
