// SPDX-License-Identifier: Apache-2.0
#include "tools/check.h"

#include <algorithm>
#include <optional>
#include <set>
#include <unordered_map>

#include "base/buffer.h"
#include "base/lanes.h"
#include "engine/pool.h"
#include "engine/recovery_counters.h"
#include "engine/torn_slots.h"
#include "tools/check_blob.h"
#include "tools/open_pool.h"

namespace lamina {
namespace {

constexpr size_t ranges_at_once = 4096;
constexpr uint64_t read_bytes = 1 * mib;
constexpr size_t reading_lanes = 16;

std::string place_in(const DeviceInfo& device, uint64_t begin, uint64_t end) {
  return "device \"" + device.name + "\" (" + std::to_string(raw(device.id)) + ") bytes " +
         std::to_string(begin) + " to " + std::to_string(end);
}

// The first generation that may be newer than what the slot's checkpoint knows: where the log goes
// on. None is, where it was left clean.
Generation first_after(const Slot& slot) {
  if (slot.clean) return Generation{UINT32_MAX};
  const Generation open = slot.log_segment.generation;
  return open == Generation::none ? slot.log_next.front().generation : open;
}

// What the engine says of the maps when it opens the pool and is asked for everything.
class MapCheck {
 public:
  MapCheck(Pool& pool, const SegmentIndex& segments, const KnownSegments& known,
           const CheckOptions& options, CheckReport& report)
      : pool_(pool), segments_(segments), known_(known), options_(options), report_(report) {}

  Task<void> check_all() {
    for (const BlobStatus& blob : pool_.status().blobs)
      if (blob.health.starts_with("missing")) missing_.insert(blob.id);
    const std::vector<DeviceInfo> devices = pool_.list();
    report_.devices = devices.size();
    for (const OriginStatus& origin : pool_.status().origins) {
      if (origin.health == "ok") continue;
      bad_origins_.insert(origin.path);
      report_.findings.push_back({"C7",
                                  "external origin of " + std::to_string(origin.devices) +
                                      (origin.devices == 1 ? " device" : " devices"),
                                  origin.health});
    }
    for (size_t i = 0; i < devices.size(); ++i) {
      options_.progress("maps", i, devices.size());
      Task<void> checking = check_device(devices[i]);
      co_await checking;
    }
    for (const LostRange& suspect : suspect_)
      report_.findings.push_back(
          {"B2",
           "device \"" + suspect.name + "\" bytes " +
               std::to_string(suspect.range.begin.byte_offset()) + " to " +
               std::to_string(suspect.range.end.byte_offset()),
           "is suspect: something newer than what was found there may have been destroyed; it "
           "cannot be read until it is written, or accepted: `lamina set MOUNT/" +
               suspect.name + " suspect=accept`"});
    for (const LostRange& lost : pool_.lost())
      if (!is_suspect(lost.device, lost.range))
        report_.findings.push_back({"B6",
                                    "device \"" + lost.name + "\" bytes " +
                                        std::to_string(lost.range.begin.byte_offset()) + " to " +
                                        std::to_string(lost.range.end.byte_offset()),
                                    "lost"});
  }

 private:
  Task<void> check_device(DeviceInfo device) {
    DeviceBlock at{0};
    uint64_t mapped = 0;
    while (true) {
      Task<Result<std::vector<MappedRange>>> mapping = pool_.map(device.id, at, ranges_at_once);
      const auto ranges = co_await mapping;
      if (!ranges) {
        report_.findings.push_back({"B7", place_in(device, at.byte_offset(), device.size_bytes),
                                    "its map cannot be read: " + ranges.error().message, true});
        co_return;
      }
      std::vector<MappedRange> readable;
      for (const MappedRange& range : *ranges) {
        check_order(device, at, range);
        at = range.range.end;
        if (range.state != RangeState::hole) ++report_.ranges;
        if (range.state == RangeState::lost && !is_suspect(device.id, range.range))
          report_.findings.push_back(
              {"B6",
               place_in(device, range.range.begin.byte_offset(), range.range.end.byte_offset()),
               "is lost"});
        if (range.state != RangeState::data) continue;
        if (missing_.contains(range.blob)) {
          report_.findings.push_back(
              {"B6",
               place_in(device, range.range.begin.byte_offset(), range.range.end.byte_offset()),
               "lies on a blob that is missing"});
          mapped += range.range.length().bytes();
          continue;
        }
        if (is_origin(range.address)) {
          check_origin(device, range);
          if (bad_origins_.contains(range.origin)) continue;
        } else {
          check_address(device, range);
          mapped += range.range.length().bytes();
        }
        if (options_.data) readable.push_back(range);
      }
      Task<void> verifying = verify(device, readable);
      co_await verifying;
      if (ranges->size() < ranges_at_once) break;
    }
    // What was rolled forward lies in layers, which know only bounds.
    if (mapped != device.mapped_bytes && device.suspect_bytes == 0 &&
        pool_.status().recovered_entries == 0)
      report_.findings.push_back({"D2", place_in(device, 0, device.size_bytes),
                                  "counts " + std::to_string(device.mapped_bytes) +
                                      " bytes as mapped, but its map has " +
                                      std::to_string(mapped)});
  }

  bool is_suspect(DeviceId device, BlockRange range) const {
    return std::ranges::any_of(suspect_, [&](const LostRange& one) {
      return one.device == device && one.range.begin <= range.begin && range.end <= one.range.end;
    });
  }

  void check_order(const DeviceInfo& device, DeviceBlock expected, const MappedRange& range) {
    if (range.range.begin == expected && !range.range.empty()) return;
    report_.findings.push_back(
        {"F10", place_in(device, range.range.begin.byte_offset(), range.range.end.byte_offset()),
         "ranges of the map overlap or leave a gap"});
  }

  // Of what the newest checkpoint refers to the segments must be there; of one that it knows
  // nothing may be gone but its header, which has been said. What the log took after it may have
  // lost its header in a crash.
  void check_address(const DeviceInfo& device, const MappedRange& range) {
    const Generation generation = range.address.generation;
    if (raw(generation) >= raw(known_.log_began)) return;
    const auto found = segments_.find(raw(generation));
    if (found == segments_.end() && known_.kept_data.contains(raw(generation))) return;
    std::string what;
    if (found == segments_.end())
      what =
          "is mapped to generation " + std::to_string(raw(generation)) + ", which no segment has";
    else if (found->second.state == SegmentState::retired)
      what = "is mapped to generation " + std::to_string(raw(generation)) + ", which was retired";
    else if (range.address.block + range.range.length().value > found->second.addresses)
      what = "is mapped past the end of its segment";
    else
      return;
    report_.findings.push_back(
        {"A4", place_in(device, range.range.begin.byte_offset(), range.range.end.byte_offset()),
         what, true});
  }

  void check_origin(const DeviceInfo& device, const MappedRange& range) {
    if (!range.origin.empty()) return;
    report_.findings.push_back(
        {"C7", place_in(device, range.range.begin.byte_offset(), range.range.end.byte_offset()),
         "is mapped to an external origin that is not known"});
  }

  // Through the engine, which compares every block with its checksum.
  Task<void> verify(const DeviceInfo& device, const std::vector<MappedRange>& ranges) {
    return in_lanes(ranges.size(), reading_lanes, [this, &device, &ranges](size_t i) -> Task<void> {
      if (is_origin(ranges[i].address)) {
        Task<bool> reading = read_all(device, ranges[i].range);
        co_await reading;
      } else {
        Task<void> reading = read_what_is_new(device, ranges[i]);
        co_await reading;
      }
    });
  }

  // Of what others share, and has been found good, nothing is read again.
  Task<void> read_what_is_new(const DeviceInfo& device, const MappedRange& mapped) {
    std::vector<bool>& good = good_[mapped.address.generation];
    const uint64_t first = mapped.address.block, length = mapped.range.length().value;
    if (good.size() < first + length) good.resize(first + length);
    const auto at = [&](uint64_t i) { return good.begin() + static_cast<ptrdiff_t>(first + i); };
    const auto next = [&](uint64_t i, bool value) {
      return static_cast<uint64_t>(std::find(at(i), at(length), value) - at(0));
    };
    for (uint64_t begin = next(0, false); begin < length;) {
      const uint64_t end = next(begin, true);
      Task<bool> reading = read_all(
          device, {mapped.range.begin + BlockCount{begin}, mapped.range.begin + BlockCount{end}});
      if (co_await reading) std::fill(at(begin), at(end), true);
      begin = next(end, false);
    }
  }

  // Whether all of it is good.
  Task<bool> read_all(const DeviceInfo& device, BlockRange range) {
    bool good = true;
    const uint64_t end = std::min(range.end.byte_offset(), device.size_bytes);
    Buffer buffer(std::min(read_bytes, range.length().bytes()));
    for (uint64_t offset = range.begin.byte_offset(); offset < end;) {
      const uint64_t length = std::min<uint64_t>(buffer.size(), end - offset);
      Task<Result<size_t>> reading = pool_.read(device.id, offset, buffer.span().first(length));
      const auto read = co_await reading;
      if (!read) {
        good = false;
        Task<void> narrowing = name_bad_blocks(device, offset, offset + length);
        co_await narrowing;
      }
      report_.verified_bytes += length;
      offset += length;
    }
    co_return good;
  }

  Task<void> name_bad_blocks(const DeviceInfo& device, uint64_t begin, uint64_t end) {
    Buffer buffer(block_size);
    for (uint64_t offset = begin; offset < end; offset += block_size) {
      const uint64_t length = std::min<uint64_t>(block_size, end - offset);
      Task<Result<size_t>> reading = pool_.read(device.id, offset, buffer.span().first(length));
      const auto read = co_await reading;
      if (!read)
        report_.findings.push_back({"B6", place_in(device, offset, offset + length),
                                    "its data cannot be read or is wrong"});
    }
  }

  Pool& pool_;
  std::set<BlobId> missing_;
  const std::vector<LostRange> suspect_ = pool_.suspect();
  std::set<std::string> bad_origins_;                       // their paths
  std::unordered_map<Generation, std::vector<bool>> good_;  // with --data, by block
  const SegmentIndex& segments_;
  const KnownSegments& known_;
  const CheckOptions& options_;
  CheckReport& report_;
};

// Durable, and missing where roll-forward looked for them, since the process began.
uint64_t salvaged_records() {
  uint64_t all = 0;
  for (const RecoveryBranch branch :
       {RecoveryBranch::lost_below_durable, RecoveryBranch::gap_bridged})
    all += recovery_branches_taken[static_cast<size_t>(branch)].load();
  return all;
}

// The pool has gone on without it.
bool has_failed(const Slot& slot, const std::string& name) {
  return std::ranges::any_of(slot.members, [&](const SlotMember& member) {
    return member.name == name.substr(0, slot_name_bytes) && member.use == BlobUse::failed;
  });
}

Task<void> check_maps(OpenedBlobs opened, Settings settings, const SegmentIndex& segments,
                      const KnownSegments& known, const CheckOptions& options,
                      CheckReport& report) {
  const uint64_t salvaged_before = salvaged_records();
  Task<Result<std::unique_ptr<Pool>>> opening =
      Pool::open(std::move(opened.blobs), std::move(settings));
  auto pool = co_await opening;
  if (const uint64_t salvaged = salvaged_records() - salvaged_before)
    report.findings.push_back({"B1", "pool " + report.pool,
                               std::to_string(salvaged) + (salvaged == 1 ? " record" : " records") +
                                   " at the end of the log, which were durable, are damaged; what "
                                   "they said is known from those behind them"});
  if (!pool) {
    report.findings.push_back({"A13", "pool " + report.pool, pool.error().message, true});
    co_return;
  }
  {
    MapCheck maps(**pool, segments, known, options, report);
    Task<void> checking = maps.check_all();
    co_await checking;
  }
  Task<Result<>> closing = (*pool)->close();
  const Result<> closed = co_await closing;
  if (!closed) report.findings.push_back({"A13", "pool " + report.pool, closed.error().message});
}

}  // namespace

Task<Result<CheckReport>> check_pool(PoolConfig config, CheckOptions options) {
  Task<Result<OpenedBlobs>> opening = open_blobs(config, true, open_file_disk, false);
  auto opened = co_await opening;
  if (!opened) co_return forward_error(opened);
  CheckReport report;
  report.pool = opened->pool_name;
  std::optional<Slot> newest;
  const Secret secret = opened->blobs.front()->superblock().secret;
  const std::set<uint64_t> torn = co_await torn_slots(opened->blobs, secret);
  for (const auto& blob : opened->blobs) {
    Task<void> checking = check_superblocks(*blob, report);
    co_await checking;
    Task<std::optional<Slot>> slots = check_slots(*blob, torn, report);
    std::optional<Slot> slot = co_await slots;
    if (slot && (!newest || slot->number > newest->number)) newest = std::move(slot);
  }
  if (!newest) {
    for (const auto& [name, why] : opened->absent)
      report.findings.push_back({"A13", "blob \"" + name + "\"", why, true});
    report.findings.push_back({"A13", "pool " + report.pool,
                               "no checkpoint can be read; `lamina repair` rebuilds it", true});
    co_return report;
  }
  for (const auto& [name, why] : opened->absent)
    report.findings.push_back({"A13", "blob \"" + name + "\"", why, !has_failed(*newest, name)});
  KnownSegments known;
  Task<void> checkpoints = check_checkpoints(opened->blobs, secret, options, known, report);
  co_await checkpoints;
  known.log_began = first_after(*newest);
  SegmentIndex segments;
  for (const auto& blob : opened->blobs) {
    Task<void> checking = check_segments(*blob, known, options, segments, report);
    co_await checking;
  }
  Settings settings = engine_settings(config);
  settings.read_only = true;
  settings.force = true;  // what is missing has been reported
  Task<void> maps =
      check_maps(std::move(*opened), std::move(settings), segments, known, options, report);
  co_await maps;
  co_return report;
}

}  // namespace lamina
