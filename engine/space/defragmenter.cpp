// SPDX-License-Identifier: Apache-2.0
#include "engine/space/defragmenter.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <unordered_set>
#include <utility>

#include "engine/pool_state.h"
#include "engine/space/moved_layout.h"
#include "engine/space/scan_map.h"
#include "engine/space/scattered_runs.h"

namespace lamina {
namespace {

constexpr uint64_t long_run_bytes = mib;
constexpr uint64_t batch_bytes = gib;
// Some 200 bytes of memory for each, until the batch is published.
constexpr uint64_t batch_parts = uint64_t{1} << 18;
// Some 10 KiB for each.
constexpr uint64_t batch_segments = 4096;
// Two checkpoints until what is dead is free (A4), and once more for what is cleaned.
constexpr int rounds_for_room = 4;
constexpr int most_refusals = 3;  // of one batch, when others were faster
constexpr uint64_t pressed_pause_ns = 100'000'000;

const char* const no_room =
    "the pool has no room to move more of it; what was moved stays in order";

}  // namespace

void Defragmenter::ask(std::vector<DeviceId> devices) {
  Lock lock(mutex_);
  wanted_.insert(wanted_.end(), devices.begin(), devices.end());
  ++status_.asked;
}

void Defragmenter::stop() {
  Lock lock(mutex_);
  stopped_ = status_.asked;
}

bool Defragmenter::wanted() const {
  Lock lock(mutex_);
  return status_.answered < status_.asked;
}

DefragStatus Defragmenter::status() const {
  Lock lock(mutex_);
  return status_;
}

Result<> Defragmenter::go_on() const {
  if (pool_.closing()) return fail(Code::busy, "the pool closes");
  LAMINA_TRY(pool_.log.health());
  Lock lock(mutex_);
  if (stopped_ >= job_) return fail(Code::busy, "it was stopped");
  return {};
}

Task<void> Defragmenter::run() {
  std::vector<DeviceId> devices;
  {
    Lock lock(mutex_);
    devices = std::exchange(wanted_, {});
    job_ = status_.asked;
    status_.done_bytes = status_.all_bytes = 0;
    status_.extents_before = status_.extents_after = 0;
    status_.ended.clear();
  }
  Task<Result<>> working = run_job(in_order(devices));
  const Result<> result = co_await working;
  filled_.clear();
  Lock lock(mutex_);
  status_.device.clear();
  status_.ended = result ? "done" : result.error().message;
  status_.answered = job_;
}

// Whoever comes first decides how what it shares with others lies.
std::vector<DeviceId> Defragmenter::in_order(const std::vector<DeviceId>& wanted) const {
  const std::set<DeviceId> all(wanted.begin(), wanted.end());
  std::vector<DeviceId> written, snapshots;
  Lock order(pool_.log.order());
  pool_.devices.for_each([&](const DevicePtr& device) {
    if (all.contains(device->id)) (device->read_only ? snapshots : written).push_back(device->id);
  });
  written.insert(written.end(), snapshots.begin(), snapshots.end());
  return written;
}

void Defragmenter::begin(DeviceId device) {
  std::string name;
  {
    Lock order(pool_.log.order());
    if (const DevicePtr found = pool_.devices.find(device)) name = found->name;
  }
  Lock lock(mutex_);
  status_.device = std::move(name);
}

void Defragmenter::note(const Scan& scan) {
  Lock lock(mutex_);
  status_.done_bytes =
      std::min(status_.all_bytes, status_.done_bytes + scan.looked_at * block_size);
}

Task<Result<>> Defragmenter::run_job(std::vector<DeviceId> devices) {
  // What was written lies below a cut, and what was moved is published.
  LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
  Task<Result<uint64_t>> counting = count_extents(devices);
  auto before = co_await counting;
  if (!before) co_return forward_error(before);
  const uint64_t mapped = mapped_by(devices);
  {
    Lock lock(mutex_);
    status_.extents_before = *before;
    status_.all_bytes = mapped * block_size;
  }
  Result<> result;
  for (size_t i = 0; result && i < devices.size(); ++i) {
    begin(devices[i]);
    for (size_t tier = 0; result && tier < pool_.space.tier_count(); ++tier)
      result = co_await defragment(devices[i], tier);
  }
  if (pool_.closing()) co_return result;
  Task<Result<uint64_t>> recounting = count_extents(devices);
  auto after = co_await recounting;
  if (!after) co_return forward_error(after);
  Lock lock(mutex_);
  status_.extents_after = *after;
  co_return result;
}

// A batch after the other, each published before the next is planned.
Task<Result<>> Defragmenter::defragment(DeviceId device, size_t tier) {
  Scan scan{.device = device, .tier = tier};
  int refusals = 0;
  while (!scan.ended) {
    LAMINA_CO_TRY(go_on());
    if (pool_.checkpointer.has_moves()) LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
    Reclaimer::PlannedMove move;
    move.plan = [this, &scan](ImagePtr image) { return plan(std::move(image), &scan); };
    Task<Result<>> moving = pool_.reclaimer.move_planned(move);
    const Result<> moved = co_await moving;
    if (!moved && moved.error().code == Code::busy) {  // others need the room that the walk holds
      co_await Sleep{pressed_pause_ns};
      continue;
    }
    if (!moved) co_return moved;
    if (scan.full || move.refused) {
      if (move.refused && ++refusals > most_refusals) co_return fail(Code::no_space, no_room);
      LAMINA_CO_TRY(co_await make_room(tier));
      continue;
    }
    refusals = 0;
    filled_.insert(move.filled.begin(), move.filled.end());
    note(scan);
    scan.at = scan.next;
    if (!pool_.checkpointer.has_moves()) continue;
    LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
    LAMINA_CO_TRY(co_await pool_.reclaimer.after_checkpoint());
  }
  co_return Result<>{};
}

// Segments that a batch may fill now.
uint64_t Defragmenter::room(size_t tier) const {
  if (pool_.reclaimer.users_wait()) return 0;
  const uint64_t available = pool_.space.available(Claim::user, tier);
  const uint64_t left = pool_.space.low_mark(tier) / 2;
  return available > left ? div_up(available - left, 2) : 0;
}

Task<Result<>> Defragmenter::make_room(size_t tier) {
  for (int round = 0; round < rounds_for_room; ++round) {
    LAMINA_CO_TRY(go_on());
    LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
    LAMINA_CO_TRY(co_await pool_.reclaimer.after_checkpoint());
    if (room(tier) > 0) co_return Result<>{};
  }
  co_return fail(Code::no_space, no_room);
}

ImageMap Defragmenter::map_of(const Image& image, DeviceId device) const {
  MapId id = MapId::none;
  {
    Lock order(pool_.log.order());
    if (const DevicePtr found = pool_.devices.find(device)) id = found->map->id();
  }
  return map_in(image, id);
}

// Nobody holds an image for longer than a step: it would keep what is dead from coming back (A4).
uint64_t Defragmenter::mapped_by(const std::vector<DeviceId>& devices) const {
  const ImagePtr image = pool_.newest_image();
  uint64_t blocks = 0;
  for (const DeviceId device : devices) blocks += map_of(*image, device).mapped_blocks;
  return blocks;
}

Task<Result<uint64_t>> Defragmenter::count_extents(std::vector<DeviceId> devices) {
  uint64_t count = 0;
  for (const DeviceId device : devices) {
    const ImagePtr image = pool_.newest_image();
    const NodeId root = map_of(*image, device).root;
    std::function<bool(const Extent&)> visit = [&count](const Extent& extent) {
      count += extent.kind == ExtentKind::data ? 1 : 0;
      return true;
    };
    Task<Result<>> scanning = scan_map(pool_, *image, root, {}, std::move(visit));
    LAMINA_CO_TRY(co_await scanning);
  }
  co_return count;
}

// What of the device is to be moved next, from `scan->at` on.
Task<Result<MovePlan>> Defragmenter::plan(ImagePtr image, Scan* scan) {
  const Space& space = pool_.space;
  scan->next = scan->at;
  scan->ended = scan->full = false;
  scan->looked_at = 0;
  if (scan->tier >= space.tier_count()) {  // its last blob has left
    scan->ended = true;
    co_return MovePlan{};
  }
  std::unordered_set<uint32_t> here, may_move;
  for (const Segment& s : space.segments()) {
    if (!s.holds_data() || space.tier_of(s.name.blob) != scan->tier) continue;
    here.insert(raw(s.name.generation));
    if (s.use == SegmentUse::sealed && s.settled_before(image->cut) && s.dead_in == 0 &&
        !filled_.contains(s.name.generation))
      may_move.insert(raw(s.name.generation));
  }
  const MovedLayout layout(space.segment_blocks(scan->tier), MovedLayout::most_entry_bytes,
                           space.moved_class(scan->tier));
  const uint64_t targets = room(scan->tier);
  ScatterNeed need;
  need.payload = layout.payload();
  need.long_run = std::min<uint64_t>(long_run_bytes / block_size, need.payload);
  // The last segment is for what is stated beside the data.
  const uint64_t of_data = targets > 1 ? targets - 1 : targets;
  need.most_blocks =
      std::min(batch_bytes / block_size, std::max<uint64_t>(1, of_data * need.payload));
  need.most_parts = batch_parts;
  need.most_segments = batch_segments;
  ScatteredRuns runs(need);
  bool full = false;
  if (!here.empty()) {
    std::function<bool(const Extent&)> visit = [&](const Extent& extent) {
      if (extent.kind == ExtentKind::data && here.contains(raw(extent.address.generation))) {
        full = !runs.add(extent, may_move.contains(raw(extent.address.generation)));
        if (full) return false;
        scan->looked_at += extent.length().value;
      }
      scan->next = extent.end;
      return true;
    };
    const NodeId root = map_of(*image, scan->device).root;
    Task<Result<>> scanning = scan_map(pool_, *image, root, scan->at, std::move(visit));
    LAMINA_CO_TRY(co_await scanning);
  }
  scan->ended = !full;
  auto parts = std::make_shared<MovedParts>(runs.take());
  MovePlan plan;
  if (parts->empty()) co_return plan;
  if (targets == 0) {
    scan->full = true;
    scan->ended = false;
    co_return plan;
  }
  plan.policy = MovePolicy::defragmentation;
  plan.from = plan.to = scan->tier;
  plan.victims = parts->segments();
  plan.targets = space.available(Claim::user, scan->tier);
  plan.parts = std::move(parts);
  co_return plan;
}

}  // namespace lamina
