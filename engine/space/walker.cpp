// SPDX-License-Identifier: Apache-2.0
#include "engine/space/walker.h"

#include <algorithm>
#include <utility>

#include "engine/mutation.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

constexpr uint64_t pause_part = 4;  // times as long as a walk took

// One that nobody can write to, or that nobody has written to since it was made and has open for it
// now.
bool is_snapshot(const Device& device) {
  if (device.read_only) return true;
  return device.origin != DeviceId::none && device.open_for_writing == 0 &&
         device.attributes.mtime_ns <= device.created_ns;
}

// What they alone hold ages first; where nothing ages nobody asks.
std::set<MapId> snapshots_of(PoolState& pool) {
  std::set<MapId> maps;
  if (pool.space.tier_count() == 1) return maps;
  Lock order(pool.log.order());
  pool.devices.for_each([&](const DevicePtr& device) {
    if (is_snapshot(*device)) maps.insert(device->map->id());
  });
  return maps;
}

}  // namespace

Task<Result<WalkResult>> Walker::walk(ImagePtr image, Wanted wanted, bool for_space, bool figures) {
  const uint64_t began = pool_.settings.background->now_ns();
  WalkOptions options;
  options.segment_blocks = pool_.space.largest_address_blocks();
  options.wanted = std::move(wanted.segments);
  options.parts = std::move(wanted.parts);
  options.snapshots = snapshots_of(pool_);
  options.workers = pool_.settings.workers;
  options.progress = &progress_;
  options.go_on = [this, for_space] { return go_on(for_space); };
  progress_.done = progress_.all = 0;
  {
    Lock lock(mutex_);
    pressed_ = false;
    status_.running = true;
    options.figures = figures = figures || status_.asked > status_.answered;
  }
  Task<Result<WalkResult>> walking = lamina::walk(pool_.nodes, image, std::move(options));
  Result<WalkResult> walked = co_await walking;
  const uint64_t ended = pool_.settings.background->now_ns();
  {
    Lock lock(mutex_);
    status_.running = false;
    if (!walked && walked.error().code == Code::busy) co_return walked;
    status_.complete = walked.has_value();
    if (!walked) co_return walked;
    ended_ns_ = ended;
    status_.taken_ns = ended - began;
    status_.extents = walked->extents;
    status_.passes = walked->passes;
  }
  pool_.checkpointer.set_used_blocks(*image, walked->blocks);
  pool_.dead_walked = image->dead_blocks;
  if (!figures) co_return walked;
  take_figures(*image, *walked);
  Lock lock(mutex_);
  known_ = image->content;
  shared_ = std::make_shared<const SharedBlocks>(std::move(walked->shared));
  co_return walked;
}

// D3: a device that has all its blocks alone, each once, shares again only from the next fork or
// copy on. What it shared before the cut is in the image, merged.
void Walker::take_figures(const Image& image, const WalkResult& walked) {
  std::unordered_map<MapId, const WalkResult::Share*> shares;
  for (const WalkResult::Share& share : walked.shares) shares[share.map] = &share;
  const uint64_t now = pool_.settings.background->now_ns();
  Lock order(pool_.log.order());
  pool_.devices.for_each([&](const DevicePtr& device) {
    const auto found = shares.find(device->map->id());
    if (found == shares.end()) return;
    const WalkResult::Share& share = *found->second;
    device->figures = {share.map, share.mapped, share.exclusive, now};
    if (share.exclusive == share.mapped) device->found_alone(image.cut);
  });
}

void Walker::press() {
  Lock lock(mutex_);
  pressed_ = true;
}

Result<> Walker::go_on(bool for_space) const {
  if (for_space) return {};
  bool ends = pool_.closing();
  {
    Lock lock(mutex_);
    ends = ends || pressed_;
  }
  if (ends)
    return fail(Code::busy, "the walk was given up, since space is short or the pool closes");
  return {};
}

bool Walker::knows(CheckpointNumber content) const {
  Lock lock(mutex_);
  return known_ >= content && known_ > 0;
}

uint64_t Walker::pause_ns() const {
  Lock lock(mutex_);
  const uint64_t until = ended_ns_ + pause_part * status_.taken_ns;
  const uint64_t now = pool_.settings.background->now_ns();
  return until > now ? until - now : 0;
}

std::shared_ptr<const SharedBlocks> Walker::shared() const {
  Lock lock(mutex_);
  return shared_;
}

uint64_t Walker::ask() {
  Lock lock(mutex_);
  return ++status_.asked;
}

uint64_t Walker::asked() const {
  Lock lock(mutex_);
  return status_.asked;
}

void Walker::answer(uint64_t asked) {
  Lock lock(mutex_);
  status_.answered = std::max(status_.answered, asked);
}

WalkStatus Walker::status() const {
  Lock lock(mutex_);
  WalkStatus status = status_;
  if (ended_ns_ > 0) status.age_ns = pool_.settings.background->now_ns() - ended_ns_;
  status.done = progress_.done;
  status.all = progress_.all;
  return status;
}

}  // namespace lamina
