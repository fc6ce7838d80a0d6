// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "engine/missing_disk.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

std::string health_of(PoolState& s, const Blob& blob) {
  if (is_missing(blob.disk()))
    return "missing: its disk was not there when the pool was opened; what lies on it cannot be "
           "read";
  if (s.space.use_of(blob.id()) == BlobUse::failed)
    return "failed: nothing is written to it any more; what lies on it is still read";
  if (const auto health = s.log.health(); !health) return health.error().message;
  if (const uint64_t reads = blob.disk().failed_reads(); reads > 0)
    return "failing: " + std::to_string(reads) +
           " reads of it have failed since the pool was opened; what cannot be read is EIO, and "
           "listed in .lamina/lost";
  return "ok";
}

BlobStatus blob_status(PoolState& s, const Blob& blob, const std::vector<Segment>& used) {
  BlobStatus status;
  status.id = blob.id();
  status.use = s.space.use_of(blob.id());
  status.name = blob.superblock().blob_name;
  status.path = blob.disk().name();
  status.kind = blob.superblock().kind;
  status.tier = blob.superblock().tier;
  status.segment_bytes = blob.segment_bytes();
  status.segments_total = blob.segment_count();
  status.traits = blob.disk().traits();
  uint64_t taken = 0;
  for (const Segment& segment : used) {
    if (segment.name.blob != blob.id() || segment.stamped) continue;
    ++taken;
    if (!segment.holds_data()) continue;
    const auto live = static_cast<uint64_t>(std::max<int64_t>(0, segment.live_blocks));
    status.data_bytes += live * block_size;
    status.saved_bytes += (live - std::min(live, segment.live_room())) * block_size;
  }
  status.segments_free = static_cast<uint32_t>(blob.segment_count() - taken);
  status.disk_size = blob.superblock().size;
  status.size = uint64_t{blob.segment_count()} * blob.segment_bytes();
  status.used = taken * blob.segment_bytes();
  status.free = status.size - status.used;
  status.health = health_of(s, blob);
  return status;
}

OriginStatus origin_status(PoolState& s, OpenOrigin& origin) REQUIRES(s.log.order()) {
  OriginStatus status;
  status.path = origin.origin().path;
  status.size_bytes = origin.origin().size_bytes;
  s.devices.for_each([&](const DevicePtr& device) {
    status.devices += device->origins.contains(origin.origin().generation);
  });
  const Result<> good = origin.check();
  status.health = good ? "ok" : good.error().message;
  return status;
}

}  // namespace

PoolStatus Pool::status() {
  PoolState& s = *state_;
  PoolStatus status;
  status.name = s.name;
  status.uuid = s.identity.pool;
  status.space_warning = s.fullness.percent();
  const bool full = status.space_warning == FullnessWatch::steps.back();
  auto health = s.log.health();
  status.read_only = s.settings.read_only || !health;
  status.health = !health                ? "read-only: " + health.error().message
                  : s.settings.read_only ? "read-only: mounted so"
                  : full                 ? "full: new data is refused until space comes back"
                                         : "ok";
  {
    Lock order(s.log.order());
    status.devices = s.devices.count();
    status.lost_ranges = s.devices.lost.size() + s.devices.suspect().size();
    for (const OpenOriginPtr& origin : s.origins.all())
      status.origins.push_back(origin_status(s, *origin));
  }
  status.origin_refused = s.origins.refused();
  status.size = s.space.capacity_blocks() * block_size;
  status.used = std::min(status.size, s.used_blocks_bound() * block_size);
  status.free = status.size - status.used;
  status.extents = s.checkpointer.extents();
  status.metadata_bytes = s.checkpointer.metadata_bytes();
  const Counters& c = s.counters;
  status.log_bytes = s.log.bytes_since_cut();
  status.tail_bytes = s.log.tail_bytes();
  status.layer_bytes = s.layer_bytes();
  const NodeStore::Counters nodes = s.nodes.counters();
  status.node_cache_bytes = nodes.bytes;
  status.node_misses = nodes.misses;
  status.written_user = c.written_user;
  status.read_user = c.read_user;
  for (size_t i = 0; i < cause_count; ++i) status.written[i] = c.written[i];
  status.discarded = c.discarded;
  status.flushes = c.flushes;
  status.checkpoints = c.checkpoints;
  status.checkpoint = s.checkpointer.number();
  status.epoch = s.identity.epoch;
  status.recovered_entries = s.recovered_entries;
  status.survived_failures = c.survived_failures;
  status.healed = s.healer.healed();
  status.rebuilt_nodes = s.healer.rebuilt();
  status.forks = c.forks;
  status.last_fork_ns = c.last_fork_ns;
  status.longest_fork_ns = c.longest_fork_ns;
  const std::vector<Segment> used = s.space.segments();
  for (const auto& blob : s.blobs()) status.blobs.push_back(blob_status(s, *blob, used));
  const Reclaimer::Moved moved = s.reclaimer.moved();
  status.mover_state = moved.now ? "moving" : "idle";
  status.mover_policy = policy_name(moved.policy);
  status.moved_bytes = moved.bytes;
  status.aged_bytes = moved.aged;
  status.promoted_bytes = moved.promoted;
  status.evacuated_bytes = moved.evacuated;
  status.evacuation = s.members.evacuation();
  status.members_refused = s.members.refused();
  status.aging_asked = s.aging_asked;
  status.aging_answered = s.aging_answered;
  status.scrub = s.scrubber.status();
  status.check = s.checker.status();
  status.defrag = s.defragmenter.status();
  status.defrag.moved_bytes = moved.defragmented;
  status.emptied_segments = moved.victims;
  status.gained_bytes = moved.gained * s.space.segment_blocks() * block_size;
  status.data_bytes = s.checkpointer.used_blocks() * block_size;
  status.walk = s.walker.status();
  return status;
}

uint64_t PoolState::layer_bytes() {
  uint64_t bytes = 0;
  std::vector<ClosedLayerPtr> closed;
  {
    Lock order(log.order());
    devices.for_each([&](const DevicePtr& device) { bytes += device->map->layer_bytes(closed); });
  }
  std::sort(closed.begin(), closed.end());
  closed.erase(std::unique(closed.begin(), closed.end()), closed.end());
  for (const ClosedLayerPtr& layer : closed) bytes += layer->layer.bytes();
  return bytes;
}

}  // namespace lamina
