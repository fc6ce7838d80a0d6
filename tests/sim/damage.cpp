// SPDX-License-Identifier: Apache-2.0
// What was durable goes bad while the power is off.
#include <algorithm>
#include <iterator>
#include <map>
#include <memory>

#include "blobs/record.h"
#include "blobs/segment.h"
#include "blobs/summary.h"
#include "compare_rebuilt.h"
#include "inspection.h"
#include "pool_machine.h"
#include "runs.h"
#include "text.h"

namespace lamina::sim {
namespace {

// A block of a device whose newest version is durable, and where it lies.
struct Target {
  DeviceId device = DeviceId::none;
  uint64_t block = 0;
  Address address{};
};

Task<void> open_pool(PoolMachine& machine, Report& report) {
  auto task = machine.open();
  const Result<> result = co_await task;
  if (!result) report.violation("it does not open: " + result.error().message);
}

// Makes everything durable, twice with something in between, so that a later record says so.
Task<void> flush_all(Store& store, Oracle& oracle, std::mt19937_64& random, Report& report) {
  for (unsigned round = 0; round < 2; ++round) {
    const std::vector<OperationIndex> covered = oracle.covered(nullptr);
    const std::vector<DeviceInfo> devices = store.list();
    for (const DeviceInfo& info : devices) {
      auto task = store.flush(info.id);
      const Result<> result = co_await task;
      if (!result) report.violation("flush failed: " + result.error().message);
    }
    // Removed names belong to no device that could be flushed; the newest entry covers them.
    const Attributes attributes{static_cast<uint32_t>(random() % 512), 0, 0, 0, 0, 0};
    for (const DeviceInfo& info : devices) {
      const DeviceRef device = oracle.named(info.name);
      const OperationIndex operation = oracle.set_permissions(*device, Permissions::of(attributes));
      auto task = store.set_attributes(info.id, attributes);
      const Result<> result = co_await task;
      if (!result) report.violation("chmod failed: " + result.error().message);
      oracle.completed(operation);
      const std::vector<OperationIndex> own = oracle.covered(device.get());
      auto flush = store.flush(info.id);
      const Result<> flushed = co_await flush;
      if (flushed) oracle.durable(own);
    }
    if (!devices.empty()) oracle.durable(covered);
  }
  // The last flush is told from a torn tail by the empty record that an idle log writes (B5). In
  // pieces: one long sleep may be over before a disk that is slow has written it.
  for (int i = 0; i < 40; ++i) {
    const Sleep idle{100'000'000};
    co_await idle;
  }
}

Task<void> find_targets(Store& store, std::vector<Target>& out) {
  const std::vector<DeviceInfo> devices = store.list();
  for (const DeviceInfo& info : devices) {
    auto task = store.map(info.id, DeviceBlock{0}, 1 << 20);
    const Result<std::vector<MappedRange>> ranges = co_await task;
    if (!ranges) continue;
    for (const MappedRange& range : *ranges) {
      if (range.state != RangeState::data || is_origin(range.address)) continue;
      for (uint64_t i = 0; i < range.range.length().value; ++i)
        out.push_back({info.id, range.range.begin.value + i, range.address + BlockCount{i}});
    }
  }
}

void spoil(const PoolMachine::Location& location, std::mt19937_64& random) {
  Buffer bytes(512);
  for (std::byte& byte : bytes.span()) byte = static_cast<std::byte>(random());
  location.medium->damage(location.offset, bytes.span().first(512));
}

struct SeenRecord {
  RecordHeader header;
  PoolMachine::Location at;
};

// The records of all segments of the log, as far as their headers follow each other.
std::vector<SeenRecord> see_records(const PoolMachine& machine) {
  std::vector<SeenRecord> seen;
  SimExecutor nobody(0);
  for (size_t i = 0; i < machine.media().size(); ++i) {
    SimMedium& medium = *machine.media()[i];
    const Superblock& superblock = machine.superblocks()[i];
    const Blob blob(open_sim_disk(medium, nobody), superblock);
    Buffer block(block_size);
    for (uint32_t segment = 0; segment < blob.segment_count(); ++segment) {
      medium.read(blob.offset(segment, 0), block.span());
      const auto header = unpack_segment_header(block.span());
      if (!header || header->kind != SegmentClass::log) continue;
      const SegmentName name{blob.id(), segment, header->generation};
      uint32_t at = payload_begin(header->kind, header->blocks, 0);
      while (at < header->blocks) {
        medium.read(blob.offset(segment, at), block.span());
        auto record = unpack_record(block.span(), superblock.secret, name, at);
        if (!record) break;
        const uint32_t next = at + 1 + record->header.payload_blocks();
        seen.push_back({std::move(record->header), {&medium, blob.offset(segment, at)}});
        at = next;
      }
    }
  }
  return seen;
}

// Headers of records that a later record knows to be durable, as places on the media. Only
// inside a segment: by its first record roll-forward enters it, and of its last the next segment
// knows; what those are worth alone is repair's.
std::vector<PoolMachine::Location> durable_headers(const PoolMachine& machine,
                                                   const std::vector<SeenRecord>& seen) {
  std::vector<PoolMachine::Location> out;
  const uint32_t first_place =
      payload_begin(SegmentClass::log, machine.superblocks()[0].segment_blocks, 0);
  for (const SeenRecord& one : seen)
    if (one.header.at.block != first_place &&
        std::any_of(seen.begin(), seen.end(), [&](const SeenRecord& later) {
          return later.header.at.generation == one.header.at.generation &&
                 later.header.durable_through >= one.header.last();
        }))
      out.push_back(one.at);
  return out;
}

// Whether a segment's summary is there, and the checksums that it vouches for: what a crash tore of
// a seal tells nothing.
bool is_sealed(const PoolMachine& machine, const SeenRecord& record) {
  for (const Superblock& superblock : machine.superblocks()) {
    const uint64_t blocks = superblock.segment_blocks;
    const uint64_t begin = record.at.offset - uint64_t{record.header.at.block} * block_size;
    Buffer segment(blocks * block_size);
    record.at.medium->read(begin, segment.span());
    const auto header = unpack_segment_header(segment.blocks(0, 1));
    if (!header || header->blob != superblock.blob) continue;
    MetadataPlace place{header->blob, header->index, header->generation, header->blocks - 1};
    const auto count =
        back_summary_blocks(segment.blocks(place.block, 1), superblock.secret, place);
    if (!count) return false;
    place.block = header->blocks - *count;
    const auto summary =
        unpack_summary(segment.blocks(place.block, *count), superblock.secret, place, true);
    const uint32_t array = array_blocks(header->kind, header->blocks);
    return summary && plain_checksum(segment.blocks(1, array)) == summary->checksums_sum;
  }
  return false;
}

// Several headers in a row of a segment that is sealed, but not the last of it: its summary tells.
std::vector<PoolMachine::Location> sealed_stretch(const PoolMachine& machine,
                                                  const std::vector<SeenRecord>& seen,
                                                  std::mt19937_64& random) {
  std::map<Generation, std::vector<const SeenRecord*>> sealed;
  for (const SeenRecord& one : seen) sealed[one.header.at.generation].push_back(&one);
  std::erase_if(sealed, [&](const auto& item) {
    return item.second.size() < 3 || !is_sealed(machine, *item.second.front());
  });
  if (sealed.empty()) return {};
  const auto& records =
      std::next(sealed.begin(), static_cast<long>(random() % sealed.size()))->second;
  const size_t begin = random() % (records.size() - 2);
  const size_t count = 2 + random() % (records.size() - 2 - begin);
  std::vector<PoolMachine::Location> out;
  for (size_t i = begin; i < begin + count; ++i) out.push_back(records[i]->at);
  return out;
}

// After some idle time the newest record says that all before it is durable, so that damage of it
// is not taken for a torn tail (B5).
void check_witness(const std::vector<SeenRecord>& seen, Report& report) {
  Sequence durable = 0, last = 0;
  for (const SeenRecord& one : seen) {
    durable = std::max(durable, one.header.durable_through);
    const bool witness = one.header.body.entries.back().kind == EntryKind::nothing;
    if (!witness) last = std::max(last, one.header.last());
  }
  if (durable < last)
    report.violation("entry " + std::to_string(last) +
                     " was flushed long ago, and no record says "
                     "more than that " +
                     std::to_string(durable) + " is durable (B5)");
}

WorkloadOptions short_work(std::mt19937_64& random, uint64_t flush_after_ns) {
  WorkloadOptions work = random_options(random);
  work.operations = 30;
  work.operations_after = 0;
  work.flush_after_ns = flush_after_ns;
  work.weights[static_cast<size_t>(Action::write)] += 60;
  work.weights[static_cast<size_t>(Action::sync)] = 0;
  work.weights[static_cast<size_t>(Action::checkpoint)] = 0;
  return work;
}

}  // namespace

LifeStatistics damage_run(uint64_t seed, Report& report) {
  std::mt19937_64 random(seed);
  PoolOptions options = random_pool_options(random);
  options.settings.checkpoint_log_bytes = 1 * gib;
  options.settings.layers_bytes = 64 * mib;
  PoolMachine machine(options, random(), report);
  LifeStatistics statistics;
  Oracle oracle(Permissions::of(Attributes{}));
  machine.power_on(random());
  machine.drive(open_pool(machine, report));
  if (!report.ok()) return statistics;
  Workload workload(
      machine.store(), oracle, short_work(random, options.settings.flush_after_ns), random, [] {},
      report);
  machine.drive(workload.run());
  if (report.ok()) machine.drive(flush_all(machine.store(), oracle, random, report));
  std::vector<Target> targets;
  if (report.ok()) machine.drive(find_targets(machine.store(), targets));
  statistics.operations = workload.begun();
  machine.crash(random);
  ++statistics.crashes;
  if (!report.ok() || targets.empty()) return statistics;

  // Either a block of payload, which alone may be lost, or a header, which the next one repeats, or
  // several, which the seal of their segment tells.
  std::map<DeviceId, std::vector<uint64_t>> damaged;
  const std::vector<SeenRecord> seen = see_records(machine);
  check_witness(seen, report);
  const std::vector<PoolMachine::Location> headers = durable_headers(machine, seen);
  if (random() % 2 == 0 && !headers.empty()) {
    const std::vector<PoolMachine::Location> stretch = sealed_stretch(machine, seen, random);
    if (stretch.empty() || random() % 3 == 0)
      spoil(headers[random() % headers.size()], random);
    else
      for (const PoolMachine::Location& header : stretch) spoil(header, random);
  } else {
    const Target target = targets[random() % targets.size()];
    const PoolMachine::Location location = machine.locate(target.address);
    // The crash may have torn the header, by which it is found here, in the midst of a seal.
    if (!location.medium) return statistics;
    spoil(location, random);
    for (const Target& other : targets)  // whoever shares it
      if (other.address == target.address) damaged[other.device].push_back(other.block);
  }
  machine.power_on(random());
  machine.drive(open_pool(machine, report));
  if (!report.ok()) return statistics;
  std::vector<Oracle::Found> found;
  machine.drive(gather(machine.store(), oracle, damaged, found, report));
  if (report.ok())
    oracle.recovered(found, Permissions::of(machine.store().root_attributes()), false, report);
  machine.crash(random);
  return statistics;
}

}  // namespace lamina::sim
